//! What was chosen once is not forgotten, and what is set otherwise than it runs is told, by whichever command one asks.

use std::fs;
use std::path::Path;

use etcd_local::State;
use rustix::process::{Pid, Signal, kill_process};

use crate::playground::{Playground, build_console, etcd, eventually, fake_etcd, get, port, put};

#[test]
fn data_that_was_chosen_once_is_gone_on_with() {
    let play = Playground::new();
    let first = play.up(&["--data-dir", "dev"]);
    put(&first, "dg==");
    kill_process(Pid::from_raw(first.pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert!(eventually(|| play.status().state == State::Stopped));
    assert_eq!(play.status().data_dir, play.path("dev"));
    let again = play.xtask(&["etcd-up", "--format", "json"]).ok();
    assert!(!again.stderr.contains("note: "), "{again:?}");
    assert_eq!((get(&again.status()).as_deref(), again.status().data_dir), (Some("dg=="), play.path("dev")));
    play.xtask(&["etcd-down"]).ok();
    // A setting is a choice, too, and the later one.
    play.configure("port = \"auto\"\ndata-dir = \"other\"");
    let moved = play.xtask(&["etcd-up"]).ok();
    let (dev, other) = (play.path("dev"), play.path("other"));
    let note =
        format!("`default` has its data in {} now; what it had last stays in {}", other.display(), dev.display());
    assert!(moved.stderr.contains(&note), "{moved:?}");
    assert_eq!(get(&play.status()), None);
    play.xtask(&["etcd-down"]).ok();
    play.configure("port = \"auto\"");
    assert_eq!(play.up(&[]).data_dir, other);
    // What a reset has wiped is chosen no more.
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-reset", "--yes"]).ok();
    assert_eq!(play.up(&[]).data_dir, play.path(".etcd/default/data"));
}

#[test]
fn a_choice_that_came_to_nothing_is_forgotten() {
    let play = Playground::new();
    put(&play.up(&[]), "dg==");
    play.xtask(&["etcd-down"]).ok();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let fails = fake_etcd(&bin, "exit 1");
    play.xtask(&["etcd-up", "--data-dir", "dev", "--etcd", fails.to_str().unwrap()]).fails(1, &["ended with"]);
    assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
}

#[test]
fn settings_that_a_running_instance_was_not_started_with_are_told_by_all_commands() {
    let (running, other) = (etcd("3.7.2"), etcd("3.6.7"));
    let play = Playground::new();
    let up = play.up(&["--etcd", running.to_str().unwrap()]);
    let runs_on = port(&up);
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listening.local_addr().unwrap().port().to_string();
    let manifest = |line: &str| play.configure(&format!("port = \"auto\"\n{line}"));
    let check = |variable: Option<(&str, &Path)>, difference: &str| {
        for args in [&["etcd-up"][..], &["etcd-status"], &["doctor"]] {
            let mut command = play.command(args);
            command.envs(variable);
            let run = crate::playground::finish(command);
            let said = format!("`default` runs with {difference}");
            let (told, next) =
                (run.stdout.clone() + &run.stderr, "`cargo xtask etcd-down`, then `cargo xtask etcd-up`");
            assert!(told.contains(&said) && told.contains(next), "{said}: {run:#?}");
        }
        assert_eq!(play.status().pids, up.pids);
    };
    for (variable, value, difference) in [
        ("ETCDPORTCLNT", free.as_str(), format!("client port {runs_on}, not {free} (ETCDPORTCLNT)")),
        ("ETCDPORTPEER", "1", "peer port".to_owned()),
        ("ETCDNODEADDR", "0.0.0.0", "address 127.0.0.1, not 0.0.0.0 (ETCDNODEADDR)".to_owned()),
        ("ETCDINSTANCE", "other", "member name".to_owned()),
        ("ETCDDATA", "elsewhere", "data directory".to_owned()),
        ("ETCDBINPATH", other.to_str().unwrap(), format!("program {}, not", running.display())),
    ] {
        check(Some((variable, Path::new(value))), &difference);
    }
    // 2379 is the default, too.
    for port in [free.as_str(), "2379"] {
        play.configure(&format!("port = {port}"));
        check(None, &format!("client port {runs_on}, not {port} (Cargo.toml)"));
    }
    for (line, difference) in [
        ("version = \"=3.6.7\"", "etcd 3.7.2, not =3.6.7 (Cargo.toml or default)"),
        ("peer-port = 1", "peer port"),
        ("data-dir = \"elsewhere\"", "data directory"),
    ] {
        manifest(line);
        check(None, difference);
    }
    build_console();
    manifest("version = \"=3.6.7\"");
    let run = play.xtask(&["run", "--", "true"]).ok();
    assert!(run.stderr.contains("note: etcd `default` runs with etcd 3.7.2, not =3.6.7"), "{run:?}");
    // The hint, followed.
    play.configure(&format!("port = {free}\npeer-port = \"auto\""));
    play.xtask(&["etcd-down"]).ok();
    drop(listening);
    let again = play.xtask(&["etcd-up"]).ok();
    assert!(!again.stderr.contains("runs with") && port(&play.status()).to_string() == free, "{again:?}");
    let quiet = play.xtask(&["etcd-status"]).ok();
    assert!(!quiet.stderr.contains("runs with"), "{quiet:?}");
}
