//! Starts: what a server inherits, how long it may take, and what a start that fails leaves behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Port, Settings, State};

use crate::playground::{Playground, build_console, etcd, fake_etcd, finish, get, put, shared_cache};

/// A fake etcd of this playground's own, named as `--etcd` wants it.
fn fake(play: &Playground, body: &str) -> String {
    let bin = play.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fake_etcd(&bin, body).to_str().unwrap().to_owned()
}

/// Runs `xtask` from a shell that holds `held` open as descriptor 7.
#[cfg(target_os = "linux")] // /proc
fn holding(play: &Playground, held: &Path, args: &[&str]) -> crate::playground::Run {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7>\"$0\" && exec \"$@\""]).arg(held).arg(env!("CARGO_BIN_EXE_xtask")).args(args);
    let command = play.command::<&str>(&[]);
    shell.current_dir(play.dir.path()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(crate::bad_input::quiet(shell))
}

/// A lock, or the end of a pipe, that whoever calls us holds is free again when our command has ended.
#[test]
#[cfg(target_os = "linux")] // /proc
fn what_we_start_holds_nothing_open_that_was_not_handed_over() {
    build_console();
    let play = Playground::new();
    let held = play.path("held");
    holding(&play, &held, &["etcd-up"]).ok();
    let server = play.status().pids[0];
    let open = fs::read_dir(format!("/proc/{server}/fd")).unwrap().flatten();
    let leaked: Vec<_> = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|link| link == held)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");

    // The same of an ephemeral server, its janitor and a run's keeper. The command itself is the user's own.
    let look = format!(
        "for dir in /proc/[0-9]*; do line=$(tr '\\0' ' ' < $dir/cmdline); \
         case $line in *{play}*) echo \"$(readlink $dir/fd/7): $line\" ;; esac; done 2>/dev/null",
        play = play.dir.path().display()
    );
    let run = holding(&play, &held, &["run", "--ephemeral", "--", "sh", "-c", &look]).ok();
    let holds = |mark: &str| {
        let line = run.stdout.lines().find(|line| line.contains(mark)).unwrap_or_else(|| panic!("{mark}: {run:#?}"));
        line.starts_with(held.to_str().unwrap())
    };
    for mark in ["--data-dir=", "etcd-local-janitor ", "--lock-dir "] {
        assert!(!holds(mark), "{mark}: {run:#?}");
    }
    // The keeper has the same words among its arguments.
    assert!(holds("/sh -c for dir"), "{run:#?}");
}

#[test]
fn etcd_hears_that_it_may_run_on_an_unsupported_processor_and_no_other_variable_of_its_own() {
    let play = Playground::new().with("ETCD_UNSUPPORTED_ARCH", "m68k").with("ETCD_NAME", "mine");
    // As etcd does, it ends also when it is only asked for its version.
    let fake = fake(&play, "env >&2; exit 1");
    let script = fs::read_to_string(&fake).unwrap();
    let needy = script.replace("#!/bin/sh\n", "#!/bin/sh\n[ \"$ETCD_UNSUPPORTED_ARCH\" = m68k ] || exit 1\n");
    fs::write(&fake, needy).unwrap();
    play.xtask(&["etcd-up", "--etcd", &fake]).fails(1, &["ended with exit status: 1"]);
    let log = fs::read_to_string(play.path(".etcd/default/etcd.log")).unwrap();
    assert!(log.contains("ETCD_UNSUPPORTED_ARCH=m68k\n") && !log.contains("ETCD_NAME"), "{log}");
}

#[test]
fn a_start_that_fails_does_not_claim_the_data_for_its_version() {
    let play = Playground::new();
    let fails = fake(&play, "exit 1"); // a 3.7.2
    play.xtask(&["etcd-up", "--etcd", &fails]).fails(1, &["ended with exit status: 1"]);
    put(&play.up(&["--etcd", "3.6.7"]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    let goes_on = "etcd 3.6.7 used the data last: `cargo xtask etcd-up --etcd 3.6.7` starts that version";
    let run = play.xtask(&["etcd-up", "--etcd", &fails]).fails(1, &["ended with exit status: 1", goes_on]);
    assert!(!run.stderr.contains("upgraded the data"), "{run:?}");
    assert_eq!(get(&play.up(&["--etcd", "3.6.7"])).as_deref(), Some("dg=="));
    play.xtask(&["etcd-down"]).ok();
    // One that came so far that the data is its own.
    let fails = fake(&play, r#"echo '{"level":"info","msg":"updated cluster version"}' >&2; exit 1"#);
    let run = play.xtask(&["etcd-up", "--etcd", &fails]).fails(1, &["ended with exit status: 1"]);
    assert!(run.stderr.contains("etcd 3.7.2 upgraded the data of `default`, which etcd 3.6.7 used last"), "{run:?}");
    play.xtask(&["etcd-up", "--etcd", "3.6.7"]).fails(1, &["was written by etcd 3.7.2"]);
}

#[test]
fn data_is_upgraded_by_one_minor_version_at_a_time() {
    let play = Playground::new();
    put(&play.up(&["--etcd", "3.5.27"]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    etcd("3.6.7"); // so that `3.6` is at hand
    let refused = ["was written by etcd 3.5.27", "etcd 3.7.2 cannot upgrade it"];
    let run = play.xtask(&["etcd-up", "--etcd", "3.7.2"]).fails(1, &refused);
    assert!(run.stderr.contains("hint: `cargo xtask etcd-up --etcd 3.6` upgrades the data to 3.6"), "{run:?}");
    // The hint, as it stands. Without a write of 3.6's own, as soon as it is ready.
    play.up(&["--etcd", "3.6"]);
    play.xtask(&["etcd-down"]).ok();
    assert_eq!(get(&play.up(&["--etcd", "3.7.2"])).as_deref(), Some("dg=="));
}

#[test]
fn a_server_that_is_found_running_has_used_the_data() {
    let play = Playground::new();
    play.up(&["--etcd", "3.6.7"]);
    // As if whoever started it had been killed right after the spawn.
    fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
    let marker = play.path(".etcd/default/data/.etcd-local.json");
    let mut forgotten: serde_json::Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
    forgotten["newest_version"] = serde_json::Value::Null;
    fs::write(&marker, forgotten.to_string()).unwrap();
    assert!(play.xtask(&["etcd-up"]).ok().stderr.contains("found the server already running"));
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-up", "--etcd", "3.5.27"]).fails(1, &["was written by etcd 3.6.7"]);
}

#[test]
fn how_long_a_start_may_take_is_for_the_user_to_say() {
    let play = Playground::new();
    let sleeps = fake(&play, "exec sleep 600");
    let args = ["etcd-up", "--etcd", &sleeps, "--timeout", "1"];
    play.xtask(&args).fails(1, &["was not ready after 1 s", "`cargo xtask etcd-up --timeout 60` gives it"]);
    play.configure("port = \"auto\"\nstart-timeout = 1");
    play.xtask(&args[..3]).fails(1, &["was not ready after 1 s"]);
    build_console();
    play.xtask(&["run", "--etcd", &sleeps, "true"]).fails(1, &["was not ready after 1 s", "start-timeout"]);
    assert_eq!(play.xtask(&["etcd-up", "--timeout", "0"]).code, Some(2));
    play.configure("port = \"auto\"\nstart-timeout = 0");
    play.xtask(&["etcd-status"]).fails(2, &["not a valid number of seconds"]);
    play.configure("port = \"auto\"");
}

/// As etcd 3.7 does in one of many restarts, if its election comes before it has read its log.
#[test]
fn a_panic_over_an_early_election_is_no_failure() {
    let play = Playground::new();
    let panicked = play.path("panicked");
    let etcd = fake(
        &play,
        &format!(
            "[ -e '{0}' ] && exec '{1}' \"$@\"\ntouch '{0}'\necho 'panic: requested index is unavailable due to compaction' >&2\n\
             exit 2",
            panicked.display(),
            etcd("3.7.2").display()
        ),
    );
    assert_eq!(play.up(&["--etcd", &etcd]).state, State::Ready);
    assert!(panicked.exists());
    // If it is always so, it is told.
    play.xtask(&["etcd-down"]).ok();
    let etcd = fake(&play, "echo 'panic: requested index is unavailable due to compaction' >&2\nexit 2");
    play.xtask(&["etcd-up", "--etcd", &etcd]).fails(1, &["its election came before it had read its log"]);
}

#[test]
fn a_start_may_take_for_ever() {
    let play = Playground::new();
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", shared_cache());
    let builder = Builder::with_settings(env, play.dir.path(), Settings::default()).port(Port::Auto);
    let builder = builder.etcd(Wanted::At(etcd("3.7.2"))).start_timeout(Duration::MAX);
    assert_eq!(builder.instance("default").unwrap().up().unwrap().status.state, State::Ready);
}

#[test]
fn the_doctor_tells_a_port_that_is_taken_from_one_that_cannot_be_had() {
    // TEST-NET-1, RFC 5737: nobody's.
    for port in ["auto", "2379"] {
        let play = Playground::new().with("ETCDNODEADDR", "192.0.2.1").with("ETCDPORTCLNT", port);
        let run = play.xtask(&["doctor"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stdout.contains("cannot listen on 192.0.2.1:") && run.stdout.contains("do: ETCDNODEADDR must be"));
        assert!(!run.stdout.contains("is taken"), "{run:?}");
        play.xtask(&["etcd-up"]).fails(1, &["cannot listen on 192.0.2.1", "hint: ETCDNODEADDR must be"]);
    }
}
