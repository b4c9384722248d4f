//! Bad input gets one clear error with the next step, the documented exit code, and changes nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use etcd_local::{Env, State};

use crate::playground::{
    Playground, TRUE, build_console, etcd, eventually, fake_etcd, finish, free_port, get, port, put,
};

#[test]
fn a_port_that_a_foreign_process_has() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap().port();
    let me = format!("pid {}", std::process::id());
    let play = Playground::new();
    let run = play.xtask(&["etcd-up", "--port", &taken.to_string(), "--peer-port", "auto"]);
    run.fails(1, &[&format!("client port {taken}"), &me, "--port auto"]);
    let run = play.xtask(&["etcd-up", "--port", "auto", "--peer-port", &taken.to_string()]);
    run.fails(1, &[&format!("peer port {taken}"), &me, "--peer-port auto"]);
    assert_eq!(play.status().state, State::Stopped);
    play.up(&[]);
}

#[test]
fn one_port_for_both() {
    let play = Playground::new();
    for line in [
        &["etcd-up", "--port", "2380", "--peer-port", "2380"][..],
        &["etcd-up", "--port", "7", "--peer-port", "7", "--foreground"],
    ] {
        play.xtask(line).fails(2, &[line[2], "both the client port and the peer port", "--peer-port auto"]);
    }
    assert!(!play.path(".etcd").exists());
}

#[test]
fn a_port_that_a_foreign_etcd_has() {
    let (foreign, play) = (Playground::new(), Playground::new());
    let theirs = foreign.up(&[]);
    put(&theirs, "dGhlaXJz");
    let up = || play.xtask(&["etcd-up", "--port", &port(&theirs).to_string(), "--peer-port", "auto"]);
    // Its version is asked for, and not for long: a busy machine may be too slow once.
    let run = (0..5).map(|_| up()).find(|run| run.stderr.contains("an etcd 3.7.2")).unwrap();
    let owner = foreign.path(".etcd/default").canonicalize().unwrap();
    let owner = format!("an etcd 3.7.2, the server of `{}`", owner.display());
    run.fails(1, &[&owner, &format!("pid {}", theirs.pids[0])]);
    assert_eq!(get(&theirs).as_deref(), Some("dGhlaXJz"));
}

#[test]
fn versions_that_do_not_exist() {
    let play = Playground::new();
    play.xtask(&["etcd-up", "--etcd", "9.9.9"]).fails(1, &["9.9.9", "3.7.2", "etcd-install --list"]);
    play.xtask(&["etcd-install", "9.9.9"]).fails(1, &["9.9.9"]);
    let run = play.xtask(&["etcd-install", "--from", "registry", "3.6.6"]);
    let run = run.fails(1, &["etcd `3.6.6` does not come from the Cargo registry, but from the release archive"]);
    assert!(!run.stderr.contains("not known"), "{run:?}");
    play.xtask(&["etcd-install", "./etcd"]).fails(2, &["`./etcd` is a path"]);
    assert_eq!(play.xtask(&["etcd-install", "newest"]).code, Some(2));
    assert_eq!(play.xtask(&["etcd-up", "--etcd", "newest"]).code, Some(2));
    assert_eq!(play.xtask(&["etcd-up", "--port", "0"]).code, Some(2));
    assert_eq!(play.xtask(&["etcd-up", "--port", "65536"]).code, Some(2));
    assert_eq!(play.xtask(&["no-such-command"]).code, Some(2));
    assert!(play.processes().is_empty());
}

#[test]
fn half_the_name_of_a_command() {
    let play = Playground::new();
    for name in ["up", "down", "reset", "status", "logs", "install"] {
        let run = play.xtask(&[name]);
        assert!(run.code == Some(2) && run.stderr.contains(&format!("'etcd-{name}'")), "{run:?}");
    }
    assert!(play.xtask(&["etcd-upp"]).stderr.contains("'etcd-up'"));
    assert!(!play.xtask(&["sideways"]).stderr.contains("tip:"));
}

#[test]
fn settings_that_cannot_be() {
    let play = Playground::new();
    for (metadata, word) in [
        ("port = 0", "neither a port"),
        ("prot = 2379", "unknown field"),
        ("version = \"new\"", "version"),
        ("test-root = \"../x\"", "not one segment"),
        ("port = ", "Cargo.toml"),
    ] {
        play.configure(metadata);
        play.xtask(&["etcd-up"]).fails(2, &["Cargo.toml", word]);
    }
    play.configure("port = \"auto\"");
    play.xtask(&["etcd-up", "--instance", "../escape"]).fails(2, &["is not an instance name"]);
    play.xtask(&["etcd-down", "--instance", ""]).fails(2, &["is not an instance name"]);
    assert!(!play.path(".etcd/default").exists());
    let play = play.with("ETCDPORTCLNT", "http");
    play.xtask(&["etcd-up"]).fails(2, &["ETCDPORTCLNT", "http"]);
}

#[test]
fn a_directory_beside_the_instances_that_is_none() {
    let play = Playground::new();
    // As `del` makes one, and as somebody might.
    for name in ["undo", "mine"] {
        fs::create_dir_all(play.path(".etcd").join(name)).unwrap();
    }
    play.up(&["--instance", "scratch"]);
    play.xtask(&["etcd-down", "--instance", "scratch"]).ok();
    let doctor = play.xtask(&["doctor"]).stdout;
    assert!(doctor.contains("`scratch` is not running"), "{doctor}");
    assert!(!doctor.contains("`undo`") && !doctor.contains("`mine`"), "{doctor}");
    play.xtask(&["etcd-up", "--instance", "undo"]).fails(2, &["`undo` is not an instance name"]);
}

#[test]
fn no_workspace_anywhere() {
    let play = Playground::new();
    fs::remove_file(play.path("Cargo.toml")).unwrap();
    play.xtask(&["etcd-status"]).fails(2, &["no workspace's `Cargo.toml` in", "run it in the workspace"]);
    play.configure("port = \"auto\"");
}

#[test]
fn an_address_of_another_machine() {
    // TEST-NET-1, RFC 5737: nobody's.
    let play = Playground::new().with("ETCDNODEADDR", "192.0.2.1");
    play.xtask(&["etcd-up"]).fails(1, &["192.0.2.1", "ETCDNODEADDR"]);
    let play = Playground::new().with("ETCDNODEADDR", "::x");
    play.xtask(&["etcd-up"]).fails(2, &["`ETCDNODEADDR` is `::x`", "an IP address or `localhost`"]);
}

#[test]
fn data_directories_that_cannot_be_one() {
    let play = Playground::new();
    fs::write(play.path("file"), "precious").unwrap();
    fs::create_dir(play.path("full")).unwrap();
    fs::write(play.path("full/thesis.txt"), "precious").unwrap();
    symlink(play.path("full"), play.path("link")).unwrap();
    for (dir, word) in [
        ("file", "is not a directory"),
        ("full", "holds files that are not etcd's"),
        ("link", "is a symbolic link"),
        ("link/", "is a symbolic link"),
    ] {
        play.xtask(&["etcd-up", "--data-dir", dir]).fails(1, &[word, "--data-dir"]);
    }
    assert_eq!(fs::read_to_string(play.path("file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(play.path("full")).unwrap().count(), 1);
}

#[test]
fn a_data_directory_of_somebody_else() {
    let play = Playground::new();
    let dir = play.path("theirs");
    fs::create_dir(&dir).unwrap();
    // Only root may give a directory away, and only root can write to /usr.
    let theirs = match rustix::fs::chown(&dir, Some(rustix::process::Uid::from_raw(65533)), None) {
        Ok(()) => dir.to_str().unwrap(),
        Err(_) => "/usr",
    };
    play.xtask(&["etcd-up", "--data-dir", theirs]).fails(1, &["belongs to another user"]);
}

#[test]
fn a_data_directory_with_spaces_and_other_letters() {
    let play = Playground::new();
    let up = play.up(&["--data-dir", "Daten für Müller & Søn 数据"]);
    put(&up, "dg==");
    assert!(play.path("Daten für Müller & Søn 数据/member").is_dir());
    play.xtask(&["etcd-reset", "--yes"]).ok();
    assert_eq!(get(&play.status()), None);
}

#[test]
fn a_data_directory_with_a_slash_at_its_end() {
    let play = Playground::new();
    put(&play.up(&["--data-dir", "data/"]), "dg==");
    let run = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok();
    assert_eq!(get(&run.status()), None);
    let left: Vec<_> = fs::read_dir(play.dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("wiped")), "{left:?}");
}

#[test]
fn a_whole_workspace_with_spaces_and_other_letters() {
    let play = Playground::at(tempfile::Builder::new().prefix("ein Büro mit 空间 ").tempdir().unwrap());
    let up = play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    assert_eq!(play.up(&[]).cluster_id, up.cluster_id);
}

#[test]
fn data_of_a_newer_etcd() {
    let play = Playground::new();
    put(&play.up(&["--etcd", "3.7.2"]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-up", "--etcd", "3.5.27"]).fails(1, &["3.7.2", "3.5.27", "cannot read it", "--etcd 3.7.2"]);
    assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
}

#[test]
fn what_hints_say_can_be_followed_and_hits_no_other_instance() {
    let play = Playground::new();
    let two = |line: &[&str]| play.xtask(&[line, &["--instance", "two"]].concat());
    build_console();
    let up = "`cargo xtask etcd-up --instance two`";
    two(&["env"]).fails(3, &[up]);
    two(&["runs"]).fails(3, &[up]);
    two(&["etcd-logs"]).fails(1, &[up]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap().port().to_string();
    two(&["etcd-up", "--port", &taken]).fails(1, &["`cargo xtask etcd-up --port auto --instance two`"]);
    let first = play.up(&[]);
    two(&["etcd-up"]).ok();
    two(&["etcd-up", "--port", &taken]).fails(1, &["`cargo xtask etcd-down --instance two` stops it"]);
    let follows =
        "`cargo xtask etcd-logs -f --instance two` follows it; `cargo xtask etcd-down --instance two` stops it";
    two(&["etcd-up", "--foreground"]).fails(1, &[follows]);
    let wipes = two(&["etcd-reset"]).fails(4, &["`cargo xtask etcd-reset --yes --instance two`"]);
    two(&["etcd-down"]).ok();
    two(&["etcd-up", "--etcd", "3.6.7"]).fails(1, &["wipe it with `cargo xtask etcd-reset --instance two`"]);
    // Word for word.
    let line = wipes.stderr.split('`').find_map(|part| part.strip_prefix("cargo xtask ")).unwrap();
    play.xtask(&line.split(' ').collect::<Vec<_>>()).ok();
    assert!(!play.path(".etcd/two/data").exists() && play.status().pids == first.pids);
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    fake_etcd(&bin, "exit 1");
    two(&["etcd-up", "--etcd", bin.to_str().unwrap()]).fails(1, &["`cargo xtask etcd-logs --instance two`"]);
}

#[test]
fn data_that_another_etcd_has_open() {
    let play = Playground::new();
    let first = play.up(&["--data-dir", "shared"]);
    put(&first, "dg==");
    let shared = play.path("shared");
    let beside = ["etcd-up", "--instance", "b", "--data-dir", shared.to_str().unwrap()];
    play.xtask(&beside).fails(1, &["another etcd has the data", "open"]);
    // Another instance must not wipe it either, running or not.
    let run = play.xtask(&["etcd-reset", "--instance", "b", "--yes"]);
    assert_eq!(run.code, Some(0), "b never had that directory: {run:?}");
    let other = Playground::new().with("ETCDDATA", &shared);
    other.xtask(&["etcd-reset", "--yes"]).fails(4, &["was not created by this instance", "nothing was deleted"]);
    assert_eq!(get(&first).as_deref(), Some("dg=="));
}

#[test]
fn a_reset_of_what_is_not_ours() {
    let play = Playground::new();
    // Data that somebody made by hand is served, and never wiped.
    let theirs = play.path("by-hand");
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut by_hand = Command::new(etcd("3.7.2"));
    by_hand
        .arg("--data-dir")
        .arg(&theirs)
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"));
    by_hand.args(["--listen-peer-urls=http://127.0.0.1:0", "--initial-advertise-peer-urls=http://127.0.0.1:0"]);
    by_hand.args(["--initial-cluster=default=http://127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = by_hand.spawn().unwrap();
    let ready =
        eventually(|| minreq::get(format!("{url}/health")).with_timeout(2).send().is_ok_and(|a| a.status_code == 200));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ready);

    let up = play.up(&["--data-dir", theirs.to_str().unwrap()]);
    put(&up, "dg==");
    play.xtask(&["etcd-reset", "--yes"]).fails(4, &["was not created by this instance"]);
    assert_eq!(get(&play.status()).as_deref(), Some("dg=="), "and it still runs");
}

#[test]
fn a_reset_that_nobody_confirmed() {
    let play = Playground::new();
    let up = play.up(&[]);
    put(&up, "dg==");
    play.xtask(&["etcd-reset"]).fails(4, &["it cannot ask", "--yes"]);
    assert_eq!(get(&up).as_deref(), Some("dg=="));
}

#[test]
fn a_running_server_that_is_not_as_asked() {
    let play = Playground::new();
    let up = play.up(&[]);
    let other = (port(&up) ^ 1).to_string();
    play.xtask(&["etcd-up", "--port", &other]).fails(1, &["already running with client port", "etcd-down"]);
    play.xtask(&["etcd-up", "--etcd", "3.6.7"]).fails(1, &["already running with etcd 3.7.2, not 3.6.7"]);
    play.xtask(&["etcd-up", "--data-dir", "elsewhere"]).fails(1, &["data directory"]);
    play.xtask(&["etcd-up", "--foreground"]).fails(1, &["is already running as pid"]);
    let (running, other) = (etcd("3.7.2"), etcd("3.6.7"));
    let [running, other] = [&running, &other].map(|path| path.to_str().unwrap());
    play.xtask(&["etcd-up", "--etcd", other]).fails(1, &[&format!("with program {running}, not {other}"), "etcd-down"]);
    play.xtask(&["etcd-up", "--etcd", "./nope"])
        .fails(2, &["the given path does not name a working etcd", "there is no file"]);
    symlink(running, play.path("link")).unwrap();
    for same in [running, "./link"] {
        assert!(play.xtask(&["etcd-up", "--etcd", same]).ok().stdout.contains("is already up"));
    }
    // The environment says how one is started, not which one must run.
    let play = play.with("ETCDBINPATH", other);
    assert_eq!(play.up(&[]).pids, up.pids);
    assert_eq!(play.status().pids, up.pids);
}

#[test]
fn binaries_that_are_none() {
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    build_console();
    for args in [["etcd-up", "--etcd", "./bin"].as_slice(), &["run", "--etcd", "./bin", "--", "true"]] {
        play.xtask(args).fails(2, &["the given path does not name a working etcd", "there is no file"]);
    }
    let play = play.with("ETCDBINPATH", &bin);
    // The hint names it, too: it is the error that must.
    let names_it = "error: `ETCDBINPATH` does not name a working etcd";
    play.xtask(&["etcd-up"]).fails(2, &[names_it, "there is no file"]);
    fs::write(bin.join("etcd"), "not a program").unwrap();
    play.xtask(&["etcd-up"]).fails(2, &[names_it]);
    fake_etcd(&bin, "echo 'flag provided but not defined: -data-dir' >&2; exit 2");
    play.xtask(&["etcd-up"]).fails(1, &["flag provided but not defined", "exit status: 2", "log: "]);
    fake_etcd(&bin, "head -c 100000 /dev/urandom >&2; exit 1");
    play.xtask(&["etcd-up"]).fails(1, &["exit status: 1"]);
    fake_etcd(&bin, "kill -9 $$");
    play.xtask(&["etcd-up"]).fails(1, &["signal: 9"]);
    assert!(play.processes().is_empty());
    assert_eq!(play.status().state, State::Stopped);
}

#[test]
fn no_network_and_nothing_here() {
    let play = Playground::new();
    let empty = play.path("empty");
    let play = play
        .with("ETCD_LOCAL_CACHE", empty.join("cache"))
        .with("CARGO_HOME", empty.join("cargo"))
        .with("GOPATH", &empty);
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    // Cargo names itself to the tests that it runs.
    let on_path = || etcd_local::all_on_path(&Env::from_process().unwrap(), "cargo").swap_remove(0);
    let cargo = std::env::var_os("CARGO").map_or_else(on_path, PathBuf::from);
    for tool in ["cargo", "rustc"] {
        symlink(cargo.with_file_name(tool), bin.join(tool)).unwrap();
    }
    let play = play.with("PATH", &bin);
    play.xtask(&["etcd-up", "--offline"])
        .fails(1, &["no etcd satisfies `=3.7.2`", "offline", "hint: without `--offline`", "ETCDBINPATH"]);
    assert!(play.processes().is_empty());
}

#[test]
fn a_directory_that_cannot_be_written() {
    let Some(play) = Playground::on_tmpfs("8m") else { return };
    let remount = |mode: &str| {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{mode}")]).arg(play.path("small"));
        assert!(finish(quiet(mount)).code == Some(0));
    };
    remount("ro");
    let run = play.xtask(&["etcd-up", "--data-dir", "small/data"]);
    remount("rw");
    run.fails(1, &["cannot create", "Read-only file system"]);
}

#[test]
fn the_doctor_finds_what_hints_send_users_to_it_for() {
    let findings = |play: &Playground| {
        let run = play.xtask(&["doctor", "--format", "json"]);
        let all: Vec<serde_json::Value> = serde_json::from_str(&run.stdout).unwrap();
        let wrong = all.into_iter().filter(|one| one["level"] == "failure").map(|one| one.to_string());
        (run.code, wrong.collect::<Vec<_>>())
    };
    let play = Playground::new();
    // Whoever runs the tests need not have built them, nor have a protoc.
    let target = play.path("target");
    let play = play.with("CARGO_TARGET_DIR", target).with("PROTOC", TRUE);
    assert_eq!(findings(&play), (Some(0), Vec::new()));
    let left: Vec<_> = fs::read_dir(play.path(".etcd")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [".gitignore"], "it leaves nothing else");

    fs::remove_dir_all(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd"), "somebody's").unwrap();
    play.xtask(&["etcd-up"]).fails(1, &[".etcd", "`cargo xtask doctor`"]);
    // As in this workspace: PROTOC leads to a launcher of what `.etcd` names.
    let launcher = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/protoc");
    fs::create_dir_all(play.path("scripts")).unwrap();
    fs::create_dir_all(play.path(".cargo")).unwrap();
    fs::copy(launcher, play.path("scripts/protoc")).unwrap();
    let line = "[env]\nPROTOC = { value = \"scripts/protoc\", relative = true }\n";
    fs::write(play.path(".cargo/config.toml"), line).unwrap();
    let launcher = play.path("scripts/protoc");
    let play = play.with("PROTOC", launcher);
    let (code, wrong) = findings(&play);
    assert_eq!((code, wrong.len()), (Some(1), 2), "{wrong:#?}");
    assert!(wrong[0].contains("`.etcd` is not a directory") && wrong[0].contains("move the file away"), "{wrong:#?}");
    assert!(wrong[1].contains("protoc") && wrong[1].contains("repair `.etcd` first"), "{wrong:#?}");
    fs::remove_file(play.path(".etcd")).unwrap();

    let Some(play) = Playground::on_tmpfs("8m") else { return };
    let play = play.with("PROTOC", TRUE);
    symlink(play.path("small"), play.path(".etcd")).unwrap();
    let remount = |mode: &str| {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{mode}")]).arg(play.path("small"));
        assert!(finish(quiet(mount)).code == Some(0));
    };
    remount("ro");
    let (code, wrong) = findings(&play);
    remount("rw");
    assert_eq!((code, wrong.len()), (Some(1), 1), "{wrong:#?}");
    assert!(wrong[0].contains("`.etcd` is not writable") && wrong[0].contains("Read-only"), "{wrong:#?}");
}

#[test]
fn a_disk_that_is_full() {
    let Some(play) = Playground::on_tmpfs("8m") else { return };
    play.xtask(&["etcd-up", "--data-dir", "small/data"]).fails(1, &["no space left on device", "log: "]);
    assert_eq!(play.status().state, State::Stopped);
    assert!(play.processes().is_empty());
    // With room, the same directory serves.
    play.xtask(&["etcd-reset", "--yes"]).ok();
    play.up(&["--data-dir", "roomy"]);
}

pub(crate) fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
