//! What is true of an instance whose files are gone or unreadable, or whose server cannot be seen: all commands say the
//! same, and nothing is started beside it, signalled without proof, or locked away from its user.

#![cfg(target_os = "linux")] // where a lock leads to its holder, and processes have namespaces

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use etcd_local::{State, Status};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::playground::{
    Playground, Run, TRUE, build_console, etcd, eventually, finish, get, lasting_etcd, port, put, skipped,
};

fn pid(status: &Status) -> Pid {
    Pid::from_raw(status.pids[0].cast_signed()).unwrap()
}

fn lives(status: &Status) -> bool {
    test_kill_process(pid(status)).is_ok()
}

/// The same command, run by another program: `unshare`, `setpriv`.
fn through(outer: &[&str], inner: &Command) -> Run {
    let (program, args) = outer.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(args).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

fn may(outer: &[&str]) -> bool {
    let run = through(outer, Command::new("true").current_dir("/"));
    if run.code != Some(0) {
        skipped(format_args!("this user may not run `{}`: {}", outer.join(" "), run.stderr.trim()));
    }
    run.code == Some(0)
}

// Whose files are gone.

#[test]
fn a_server_whose_files_are_gone_is_found_and_stopped() {
    let play = Playground::new();
    let up = play.up(&["--etcd", lasting_etcd(&play).to_str().unwrap()]);
    put(&up, "dg==");
    fs::remove_dir_all(play.path(".etcd")).unwrap();
    let status = play.status();
    assert_eq!((status.state, &status.pids, &status.endpoints), (State::Orphaned, &up.pids, &up.endpoints));
    let words = "runs, but its lock file was deleted";
    let run = play.xtask(&["etcd-status"]).ok();
    assert!(run.stdout.contains(words) && run.stdout.contains("`cargo xtask etcd-down` stops it"), "{run:?}");
    let run = play.xtask(&["doctor"]);
    assert!(run.stdout.contains(&format!("`default` {words}")), "{run:?}");
    fs::remove_dir_all(play.path(".etcd")).unwrap();
    for line in [&["etcd-up"][..], &["etcd-up", "--foreground"], &["env"], &["etcd-logs"]] {
        play.xtask(line).fails(1, &[words, &up.pids[0].to_string(), "`cargo xtask etcd-down` stops it"]);
    }
    let run = play.xtask(&["etcd-up"]);
    assert!(run.stderr.contains(&format!("--endpoints {}", up.endpoints[0])), "its keys go with it: {run:?}");
    assert_eq!(get(&up).as_deref(), Some("dg=="));
    let run = play.xtask(&["etcd-down"]).ok();
    assert!(run.stdout.contains("stopped etcd `default`; its data was deleted before"), "{run:?}");
    assert!(play.processes().is_empty());
    let run = play.xtask(&["etcd-down"]).ok();
    assert!(run.stdout.contains("was not running"), "{run:?}");
    assert_eq!(play.up(&[]).state, State::Ready);
}

#[test]
fn a_server_whose_files_are_gone_is_reset() {
    build_console();
    let play = Playground::new();
    let up = play.up(&["--etcd", lasting_etcd(&play).to_str().unwrap()]);
    fs::remove_dir_all(play.path(".etcd")).unwrap();
    play.xtask(&["run", "--", "true"]).fails(1, &["its lock file was deleted", "`--ephemeral` uses a separate etcd"]);
    play.xtask(&["runs"]).fails(1, &["runs, but its lock file was deleted", "`cargo xtask etcd-down` stops it"]);
    play.xtask(&["etcd-reset"]).fails(4, &["refused to delete"]);
    let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert_eq!((reset.state, &reset.endpoints), (State::Ready, &up.endpoints));
    assert!(reset.pids != up.pids && reset.cluster_id != up.cluster_id);
    assert_eq!(play.processes().len(), 1);
}

#[test]
fn a_server_of_which_only_the_lock_file_is_gone_keeps_its_data() {
    let play = Playground::new();
    let up = play.up(&["--data-dir", "dev"]);
    put(&up, "dg==");
    fs::remove_file(play.path(".etcd/default/member.lock")).unwrap();
    // Somebody makes another.
    fs::write(play.path(".etcd/default/member.lock"), "").unwrap();
    assert_eq!(play.status().state, State::Orphaned);
    play.xtask(&["etcd-up"]).fails(1, &["its lock file was deleted", "`cargo xtask etcd-down` stops it"]);
    let run = play.xtask(&["etcd-down"]).ok();
    assert!(run.stdout.contains("its data stays in dev"), "{run:?}");
    assert!(play.processes().is_empty());
    assert_eq!(get(&play.up(&["--data-dir", "dev"])).as_deref(), Some("dg=="));
}

#[test]
fn a_server_whose_data_is_gone_is_told_of_and_stopped() {
    let play = Playground::new();
    let up = play.up(&["--etcd", lasting_etcd(&play).to_str().unwrap()]);
    fs::remove_dir_all(play.path(".etcd/default/data")).unwrap();
    assert_eq!(play.status().pids, up.pids);
    let run = play.xtask(&["etcd-status"]).ok();
    assert!(run.stdout.contains("was deleted: the server's keys are lost when it stops"), "{run:?}");
    let run = play.xtask(&["etcd-down"]).ok();
    assert!(run.stdout.contains("its data was deleted before"), "{run:?}");
    assert_eq!(get(&play.up(&[])), None);
}

#[test]
fn an_instance_whose_directory_is_renamed_goes_by_its_new_name() {
    let play = Playground::new();
    let up = play.up(&["--etcd", lasting_etcd(&play).to_str().unwrap()]);
    fs::rename(play.path(".etcd/default"), play.path(".etcd/renamed")).unwrap();
    assert_eq!(play.status().state, State::Stopped);
    let taken = ["etcd-up", "--port", &port(&up).to_string()];
    let renamed = play.path(".etcd/renamed").canonicalize().unwrap();
    play.xtask(&taken).fails(1, &[&format!("the server of `{}`", renamed.display())]);
    let run = play.xtask(&["etcd-status", "--instance", "renamed", "--format", "json"]).ok();
    assert_eq!(run.status().pids, up.pids);
    play.xtask(&["etcd-down", "--instance", "renamed"]).ok();
    assert!(play.processes().is_empty());
}

#[test]
fn whose_server_has_a_port_is_told_with_a_way_to_stop_it() {
    let play = Playground::new();
    let up = play.up(&["--instance", "lost", "--etcd", lasting_etcd(&play).to_str().unwrap()]);
    let dir = play.path(".etcd/lost").canonicalize().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let args = ["etcd-up", "--port", &port(&up).to_string()];
    let words = format!("the server of `{}`, whose lock file was deleted", dir.display());
    play.xtask(&args).fails(1, &[&words, "`cargo xtask etcd-down --instance lost`", "stops it"]);
    assert!(play.xtask(&["doctor"]).stdout.contains("`lost` runs, but its lock file was deleted"));
    play.xtask(&["etcd-down", "--instance", "lost"]).ok();
    play.xtask(&args).ok();
}

#[test]
fn the_server_of_a_workspace_that_is_gone_is_nobody_elses() {
    let play = Playground::new();
    let call = |workspace: &str, args: &[&str]| {
        let mut command = play.command(args);
        command.current_dir(play.path(workspace)).env("CARGO_MANIFEST_DIR", play.path(workspace));
        finish(command)
    };
    for workspace in ["a", "b"] {
        fs::create_dir(play.path(workspace)).unwrap();
        fs::copy(play.path("Cargo.toml"), play.path(workspace).join("Cargo.toml")).unwrap();
    }
    let theirs =
        call("a", &["etcd-up", "--format", "json", "--etcd", lasting_etcd(&play).to_str().unwrap()]).ok().status();
    fs::remove_dir_all(play.path("a")).unwrap();
    assert_eq!(call("b", &["etcd-status"]).code, Some(3));
    assert!(!call("b", &["doctor"]).stdout.contains("was deleted"));
    call("b", &["etcd-down"]).ok();
    call("b", &["etcd-reset", "--yes"]).ok();
    call("b", &["etcd-up"]).ok();
    call("b", &["etcd-down"]).ok();
    assert!(lives(&theirs) && get(&theirs).is_none());
    // A workspace that is made anew in the same place has it.
    fs::create_dir(play.path("a")).unwrap();
    fs::copy(play.path("Cargo.toml"), play.path("a/Cargo.toml")).unwrap();
    call("a", &["etcd-down"]).ok();
    assert!(play.processes().is_empty());
}

#[test]
fn whoever_only_has_the_same_file_is_not_taken_for_a_server() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let lock = play.path(".etcd/default/member.lock");
    let mut bystander = Command::new("sleep").arg("600").stdin(fs::File::open(&lock).unwrap()).spawn().unwrap();
    fs::remove_file(&lock).unwrap();
    assert_eq!(play.status().state, State::Stopped);
    play.xtask(&["etcd-down"]).ok();
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

// Who cannot be seen.

/// In other PID and mount namespaces, as in a container that shares the workspace and the network.
const UNSEEING: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--"];
/// In another network, too.
const APART: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--net", "--"];

#[test]
fn a_server_that_cannot_be_seen_from_here_is_one_state() {
    if !may(UNSEEING) {
        return;
    }
    build_console();
    let play = Playground::new();
    let up = play.up(&[]);
    put(&up, "dg==");
    let words = "not visible from here";
    let from_there = |args: &[&str]| through(UNSEEING, &play.command(args));
    let status = from_there(&["etcd-status", "--format", "json"]).ok().status();
    assert_eq!((status.state, status.answers, status.pids.len()), (State::Hidden, true, 0));
    assert_eq!((&status.endpoints, status.cluster_id), (&up.endpoints, up.cluster_id));
    for args in [&["etcd-status"][..], &["etcd-up"], &["env"], &["doctor"]] {
        let run = from_there(args).ok();
        assert!(run.stdout.contains(words) || run.stderr.contains(words), "{run:?}");
    }
    assert!(from_there(&["env"]).stdout.contains(&up.endpoints[0]));
    from_there(&["etcd-logs"]).ok();
    let here = "run the command where the server was started";
    for args in [&["etcd-down"][..], &["etcd-reset", "--yes"], &["etcd-up", "--foreground"]] {
        from_there(args).fails(1, &[words, here]);
    }
    from_there(&["runs"]).ok();
    let run = from_there(&["run", "--", "true"]).ok();
    assert!(run.stderr.contains(&format!("`default` at {}", up.endpoints[0])), "{run:?}");
    // Nor without its record.
    let record = play.path(".etcd/default/instance.json");
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    let run = from_there(&["etcd-status", "--format", "json"]).ok();
    assert_eq!((run.status().state, run.status().answers), (State::Hidden, false));
    from_there(&["etcd-up"]).fails(1, &[words, here]);
    from_there(&["env"]).fails(1, &[words, here]);
    fs::write(&record, text).unwrap();
    assert_eq!((play.status().pids, get(&up).as_deref()), (up.pids, Some("dg==")));
    assert_eq!(play.processes().len(), 1);
}

#[test]
fn a_server_that_cannot_be_seen_or_reached_is_the_same_state() {
    if !may(APART) {
        return;
    }
    build_console();
    let play = Playground::new();
    let up = play.up(&[]);
    let from_there = |args: &[&str]| through(APART, &play.command(args));
    let words = "is not visible from here, and does not answer here";
    let status = from_there(&["etcd-status", "--format", "json"]).ok().status();
    assert_eq!((status.state, status.answers), (State::Hidden, false));
    assert!(from_there(&["etcd-status"]).ok().stdout.contains(words));
    assert!(from_there(&["env"]).ok().stderr.contains(words));
    assert!(from_there(&["doctor"]).stdout.contains(words));
    for args in [&["etcd-up"][..], &["etcd-down"], &["etcd-reset", "--yes"]] {
        from_there(args).fails(1, &["not visible from here", "run the command where the server was started"]);
    }
    from_there(&["run", "--", "true"]).fails(1, &[words, "`--ephemeral` uses a separate etcd"]);
    from_there(&["runs"]).fails(3, &["no etcd answers", "`cargo xtask etcd-status` shows how it is"]);
    assert!(lives(&up) && play.processes().len() == 1);
}

#[test]
fn a_lock_that_an_operation_has_is_no_hidden_server() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let hold = |name: &str| {
        let file = fs::File::open(play.path(".etcd/default").join(name)).unwrap();
        file.try_lock().unwrap();
        file
    };
    let (_operation, _member) = (hold("op.lock"), hold("member.lock"));
    assert_eq!(play.status().state, State::Stopped);
    drop(_operation);
    assert_eq!(play.status().state, State::Hidden);
}

// Whose files are another user's.

const OTHER: u32 = 1234;
const AS_OTHER: &[&str] = &["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "--"];

/// A playground that another user may enter; `None` where we cannot be another user.
fn for_two() -> Option<Playground> {
    may(AS_OTHER).then(|| {
        let play = Playground::new();
        fs::set_permissions(play.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let binary = play.path("etcd");
        fs::copy(etcd("3.7.2"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(play.path("tmp"), fs::Permissions::from_mode(0o777)).unwrap();
        let cache = play.path("cache");
        play.with("ETCDBINPATH", binary).with("ETCD_LOCAL_CACHE", cache)
    })
}

fn owners(dir: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type().unwrap().is_dir() {
        true => owners(&entry.path()),
        false => vec![(entry.path().display().to_string(), entry.metadata().unwrap().uid())],
    });
    let mut all: Vec<_> = below.collect();
    all.push((dir.display().to_string(), fs::metadata(dir).unwrap().uid()));
    all
}

#[test]
fn files_that_may_not_be_read_are_not_taken_for_none() {
    let Some(play) = for_two() else { return };
    let up = play.up(&[]);
    // Which program it would be does not matter.
    let as_other = |args: &[&str]| through(AS_OTHER, play.command(args).env("ETCD_CONSOLE", TRUE));
    let home = play.path(".etcd");
    let words = format!("`{}` belongs to another user, root; this command runs as {OTHER}", home.display());
    let chown = format!("`sudo chown -R {OTHER} '{}'` makes it yours", home.display());
    for args in [
        &["etcd-status"][..],
        &["etcd-up"],
        &["etcd-down"],
        &["etcd-reset", "--yes"],
        &["etcd-logs"],
        &["env"],
        &["run", "--", "true"],
    ] {
        as_other(args).fails(1, &[&words, &chown]);
    }
    let doctor = as_other(&["doctor"]);
    assert!(doctor.code == Some(1) && doctor.stdout.contains(&words) && doctor.stdout.contains(&chown), "{doctor:?}");
    // The hint, followed: the files are theirs, and the server is root's still.
    let chowned = Command::new("chown").args(["-R", &OTHER.to_string()]).arg(&home).status();
    assert!(chowned.unwrap().success());
    let status = as_other(&["etcd-status", "--format", "json"]).ok().status();
    assert_eq!((status.state, status.answers), (State::Hidden, true));
    let kill = format!("`sudo kill {}` stops it", up.pids[0]);
    as_other(&["etcd-down"]).fails(1, &["not visible from here", &kill]);
    assert!(as_other(&["etcd-status"]).stdout.contains(&kill) && lives(&up));
    let _ = kill_process(pid(&up), Signal::TERM);
    assert!(eventually(|| play.processes().is_empty()));
    let run = as_other(&["etcd-up", "--format", "json"]).ok();
    assert_eq!(run.status().state, State::Ready, "{run:?}");
    as_other(&["etcd-down"]).ok();
}

#[test]
fn root_leaves_nothing_in_the_workspace_of_another_user() {
    let Some(play) = for_two() else { return };
    build_console();
    let as_other = |args: &[&str]| through(AS_OTHER, &play.command(args));
    let up = as_other(&["etcd-up", "--format", "json"]).ok().status();
    assert!(play.xtask(&["etcd-up"]).ok().stdout.contains("is already up"));
    for args in [&["etcd-status"][..], &["etcd-logs"], &["env"], &["run", "--", "true"]] {
        play.xtask(args).ok();
    }
    for args in [&["etcd-down"][..], &["etcd-reset", "--yes"], &["del", "/Inventory/v1/x", "--yes"]] {
        play.xtask(args).fails(1, &[&format!("belongs to another user, {OTHER}"), &format!("run it as {OTHER}")]);
    }
    assert!(lives(&up));
    let roots: Vec<_> = owners(&play.path(".etcd")).into_iter().filter(|(_, owner)| *owner != OTHER).collect();
    assert!(roots.is_empty(), "{roots:?}");
    as_other(&["etcd-down"]).ok();
    play.xtask(&["etcd-up"]).fails(1, &[&format!("belongs to another user, {OTHER}")]);
    assert!(play.processes().is_empty());
    // What root left in older versions is named.
    fs::create_dir(play.path(".etcd/undo")).unwrap();
    for doctor in [as_other(&["doctor"]), play.xtask(&["doctor"])] {
        let chown = format!("`sudo chown -R {OTHER} '{}'`", play.path(".etcd").display());
        assert!(doctor.stdout.contains(&format!("belongs to root, not to {OTHER}")), "{doctor:?}");
        assert!(doctor.stdout.contains(&chown), "{doctor:?}");
    }
}

#[test]
fn root_builds_nothing_where_another_user_builds() {
    let Some(play) = for_two() else { return };
    let target = play.path("target");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::chown(&target, Some(OTHER), None).unwrap();
    let play = play.with("CARGO_TARGET_DIR", &target);
    for args in [&["get", "x"][..], &["runs"]] {
        play.xtask(args).fails(1, &["etcd-console has to be built in", "belongs to another user", "CARGO_TARGET_DIR"]);
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}

// What a newer version wrote.

#[test]
fn the_record_of_a_newer_version_is_left_alone() {
    build_console();
    let play = Playground::new();
    let up = play.up(&[]);
    let record = play.path(".etcd/default/instance.json");
    let good = fs::read_to_string(&record).unwrap();
    let newer = r#"{"schema": 99, "members": []}"#;
    fs::write(&record, newer).unwrap();
    let check = |words: &[&str]| {
        for args in [
            &["etcd-status"][..],
            &["etcd-up"],
            &["etcd-down"],
            &["etcd-reset", "--yes"],
            &["env"],
            &["run", "--", "true"],
        ] {
            play.xtask(args).fails(1, words);
        }
        let doctor = play.xtask(&["doctor"]);
        assert!(doctor.code == Some(1) && doctor.stdout.contains(words[0]), "{doctor:?}");
    };
    check(&["a newer version of this tool wrote", "instance.json", "use that version here, or move the file away"]);
    play.xtask(&["runs"]).fails(1, &["a newer version of this tool wrote"]);
    assert_eq!(fs::read_to_string(&record).unwrap(), newer);
    let files = fs::read_dir(play.path(".etcd/default")).unwrap().flatten();
    assert!(!files.map(|file| file.file_name()).any(|name| name.to_string_lossy().contains("damaged")));
    assert!(lives(&up));
    // The hint, followed.
    fs::rename(&record, play.path("newer.json")).unwrap();
    assert_eq!(play.status().pids, up.pids);
    play.xtask(&["etcd-down"]).ok();
    fs::write(&record, newer).unwrap();
    check(&["a newer version of this tool wrote", "instance.json"]);
    fs::write(&record, good).unwrap();
    play.xtask(&["etcd-up"]).ok();
}

#[test]
fn data_that_a_newer_version_marked_is_left_alone() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let marker = play.path(".etcd/default/data/.etcd-local.json");
    let newer = r#"{"schema": 99}"#;
    fs::write(&marker, newer).unwrap();
    for args in [&["etcd-up"][..], &["etcd-reset", "--yes"]] {
        play.xtask(args).fails(1, &["a newer version of this tool wrote", ".etcd-local.json", "use that version here"]);
    }
    assert_eq!(fs::read_to_string(&marker).unwrap(), newer);
}
