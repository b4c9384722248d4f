//! The keeper of a run: what is no keeper, and what it tells; and how a command in a run hears that it is to end.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::{Running, finish_child, terminal};
use crate::playground::{Playground, build_console, eventually};

/// A program in the place of etcd-console, which runs `body` where a keeper is wanted.
pub(super) fn with_keeper(play: Playground, body: &str) -> Playground {
    use std::os::unix::fs::PermissionsExt as _;

    let path = play.path("keeper");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    play.with("ETCD_CONSOLE", path)
}

#[test]
fn what_ends_in_the_place_of_a_keeper_is_no_success() {
    for (body, how) in [
        ("exit 0", "ended (exit status: 0)"),
        ("kill -9 $$", "ended (signal: 9"),
        ("exec sleep 600 >&-", "closed its output"),
    ] {
        let play = with_keeper(Playground::new(), body);
        let run = play.xtask(&["run", "--", "touch", "ran"]);
        run.fails(1, &[&format!("the keeper {how}"), "before it registered a run", "ETCD_CONSOLE"]);
        assert!(!play.path("ran").exists());
    }
    let play = with_keeper(Playground::new(), "echo 'error: so it is' >&2; exit 3");
    let run = play.xtask(&["run", "--", "true"]);
    assert!(run.code == Some(3) && run.stderr.matches("error: ").count() == 1, "it has said why: {run:#?}");
}

/// What a keeper says that has registered a run.
pub(super) fn registered(play: &Playground) -> serde_json::Value {
    let lock = play.path("lock");
    fs::write(&lock, "").unwrap();
    serde_json::json!({"registered": {"run": "r", "prefix": "/r/", "lock": lock, "variables": []}})
}

/// A keeper that registers a run, though in no etcd, and then runs `body`.
fn registers_and(play: Playground, body: &str) -> Playground {
    let said = registered(&play);
    with_keeper(play, &format!("case \"$*\" in *--adopt*) exit 1; esac\necho '{said}'\n{body}"))
}

#[test]
fn a_run_that_cannot_be_swept_is_told_with_what_to_do() {
    const WORDS: &str = "the run could not be swept";
    let play = registers_and(Playground::new(), "read word; exit 1");
    for (ephemeral, code) in [(true, 0), (true, 7), (false, 7)] {
        if !ephemeral {
            play.up(&[]);
        }
        let run = play.xtask(&["run", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(run.code, Some(code), "{run:#?}");
        let still = run.stderr.contains("its keys are still there");
        let told = run.stderr.contains(WORDS) && run.stderr.contains("hint: `cargo xtask test-clean`");
        assert_eq!((still, told), (!ephemeral, !ephemeral), "{run:#?}");
    }
    play.xtask(&["run", "--", "true"]).fails(1, &[WORDS, "test-clean"]);
}

#[test]
fn a_keeper_that_is_not_replaced_any_more_is_told_once() {
    let check = |body: &str, why: &str| {
        let play = registers_and(Playground::new(), body);
        let said = play.path("said");
        let waits = "until grep -q 'has no keeper' said; do sleep 0.05; done; sleep 0.2";
        let mut command = play.command(&["run", "--", "sh", "-c", waits]);
        let mut child = command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        assert!(eventually(|| child.try_wait().unwrap().is_some()));
        let said = fs::read_to_string(said).unwrap();
        assert!(said.matches("has no keeper").count() == 1 && said.contains(why), "{said}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| check("exit 1", "it ends each time"));
        scope.spawn(|| check("rm \"$0\"; exit 1", "cannot start the keeper"));
    });
}

/// A `kill` of ours, of which the terminal tells nobody.
#[test]
fn a_command_in_a_terminal_is_told_before_it_is_killed() {
    build_console();
    let play = Playground::new();
    play.up(&[]);
    let (_terminal, stdin) = terminal();
    let script = "trap 'touch told; exit' TERM; touch ready; while :; do sleep 0.05; done";
    let child = play.command(&["run", "--", "sh", "-c", script]).stdin(stdin).spawn().unwrap();
    assert!(eventually(|| play.path("ready").exists()));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let run = finish_child(child);
    assert!(run.code == Some(130) && play.path("told").exists(), "{run:#?}");
}

#[test]
fn a_killed_runner_takes_its_ephemeral_etcd_with_it() {
    let play = Playground::new();
    let running = Running::start(&play, "a", &[]);
    running.signal(Signal::KILL);
    running.go(0);
    finish_child(running.child);
    assert!(eventually(|| play.processes().is_empty()), "{:#?}", play.processes());
    assert!(eventually(|| fs::read_dir(play.path("tmp")).unwrap().count() == 0), "nothing temporary stays");
}
