//! The keeper of a run: what is no keeper, who takes its place, and what it ends and sweeps when the run's other processes
//! are killed.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{Running, count, finish_child, interrupted, terminal, write_keys};
use crate::playground::{Playground, build_console, eventually};

fn with_keeper(play: Playground, body: &str) -> Playground {
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
fn registered(play: &Playground) -> serde_json::Value {
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
    for (body, why) in [("exit 1", "it ends each time"), ("rm \"$0\"; exit 1", "cannot start the keeper")] {
        let play = registers_and(Playground::new(), body);
        let said = play.path("said");
        let waits = "until grep -q 'has no keeper' said; do sleep 0.05; done; sleep 0.2";
        let mut command = play.command(&["run", "--", "sh", "-c", waits]);
        let mut child = command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        assert!(eventually(|| child.try_wait().unwrap().is_some()));
        let said = fs::read_to_string(said).unwrap();
        assert!(said.matches("has no keeper").count() == 1 && said.contains(why), "{said}");
    }
}

/// In a network of its own, whose only port for whoever asks for any is not enough for a server's two.
#[test]
#[cfg(target_os = "linux")] // /proc
fn a_killed_runner_is_swept_by_its_keeper() {
    let play = Playground::new();
    play.up(&[]);
    let running = Running::start(&play, "a", &[]);
    let given = running.given.clone();
    write_keys(&given, 2);
    running.signal(Signal::KILL);
    running.go(0);
    let Running { child, .. } = running;
    finish_child(child);
    assert!(eventually(|| count(&given.endpoints, "/CloudChamber/v0.1/Test/") == 0));
    assert!(eventually(|| play.processes().len() == 1), "only etcd: {:#?}", play.processes());
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn a_killed_runner_with_its_keeper_is_swept_by_the_next_who_cleans() {
    let play = Playground::new();
    play.up(&[]);
    let running = Running::start(&play, "a", &[]);
    let given = running.given.clone();
    write_keys(&given, 2);
    let keeper = running.keeper().unwrap();
    kill_process(keeper, Signal::STOP).unwrap();
    running.signal(Signal::KILL);
    kill_process(keeper, Signal::KILL).unwrap();
    running.go(0);
    finish_child(running.child);
    assert!(count(&given.endpoints, &given.prefix) >= 3);
    assert!(eventually(|| {
        let listed = play.xtask(&["runs"]).ok();
        listed.stdout.contains("dead")
    }));
    let cleaned = play.xtask(&["test-clean"]).ok();
    assert!(cleaned.stdout.contains("removed 1 run, 2 keys"), "{cleaned:#?}");
    assert_eq!(count(&given.endpoints, "/CloudChamber/v0.1/Test/"), 0);
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn a_killed_keeper_is_replaced() {
    let play = Playground::new();
    play.up(&[]);
    let running = Running::start(&play, "a", &[]);
    let given = running.given.clone();
    write_keys(&given, 2);
    let first = running.keeper().unwrap();
    kill_process(first, Signal::KILL).unwrap();
    assert!(eventually(|| running.keeper().is_some_and(|keeper| keeper != first)));
    let run = running.end(0).ok();
    assert!(run.stderr.contains("2 keys swept"), "{run:#?}");
    assert_eq!(count(&given.endpoints, "/CloudChamber/v0.1/Test/"), 0);
}

#[test]
#[cfg(target_os = "linux")] // /proc
fn what_a_killed_runner_leaves_running_is_ended() {
    build_console();
    let play = Playground::new();
    let up = play.up(&[]);
    let mut bystander = Command::new("sleep").arg("600").env("ETCD_TEST_RUN", "another").spawn().unwrap();
    // One that ends when it is told to, one that is deaf, and a daemon.
    let script = "setsid sh -c 'echo $$ > daemon; exec sleep 600' & sleep 600 & echo $! > pids; \
                  sh -c 'trap \"\" TERM INT; echo $$ >> pids; touch ready; while :; do sleep 1; done' & wait";
    let mut child = play.command(&["run", "--", "sh", "-c", script]).spawn().unwrap();
    let daemon = || fs::read_to_string(play.path("daemon")).ok()?.trim().parse().ok().and_then(Pid::from_raw);
    assert!(eventually(|| play.path("ready").exists() && daemon().is_some()));
    child.kill().unwrap();
    child.wait().unwrap();
    let pids = fs::read_to_string(play.path("pids")).unwrap();
    assert_eq!(pids.lines().count(), 2);
    let is_gone = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_err();
    assert!(eventually(|| pids.lines().all(is_gone)), "{pids}");
    assert!(eventually(|| count(&up.endpoints[0], "/CloudChamber/v0.1/Test/") == 0));
    assert!(bystander.try_wait().unwrap().is_none(), "it is none of the run's");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    kill_process(daemon().unwrap(), Signal::KILL).expect("a daemon stays");
}

/// Ctrl-C as a terminal sends it. Shells have what is in the background ignore it.
#[test]
#[cfg(target_os = "linux")] // /proc
fn what_an_interrupted_command_leaves_running_is_ended() {
    build_console();
    let play = Playground::new();
    let up = play.up(&[]);
    for args in [&["run"][..], &["run", "--keep"]] {
        let (_terminal, stdin) = terminal();
        let script = "sleep 600 > /dev/null 2>&1 & echo $! > tmp/pid; mv tmp/pid pid; wait";
        let mut command = play.command(&[args, &["--", "sh", "-c", script]].concat());
        let child = command.stdin(stdin).process_group(0).spawn().unwrap();
        assert!(eventually(|| play.path("pid").exists()));
        kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
        let run = finish_child(child);
        assert_eq!(run.code, Some(130), "{run:#?}");
        let pid: i32 = fs::read_to_string(play.path("pid")).unwrap().trim().parse().unwrap();
        fs::remove_file(play.path("pid")).unwrap();
        let is_gone = fs::read_link(format!("/proc/{pid}/exe")).is_err();
        assert!(is_gone || kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).is_err(), "{run:#?}");
        assert_eq!(count(&up.endpoints[0], "/CloudChamber/v0.1/Test/") > 0, args.contains(&"--keep"));
    }
}

/// The terminal has told nobody but us.
#[test]
#[cfg(target_os = "linux")] // /proc
fn a_command_is_not_started_after_an_interrupt() {
    let play = Playground::new();
    let registered = registered(&play);
    let ended = serde_json::json!({"ended": {"keys": 0, "stragglers": false, "lost": false}});
    let body = format!(
        "touch keeping; until [ -e go ]; do sleep 0.05; done; echo '{registered}'\n\
         until [ \"$word\" = sweep ]; do read word; done; echo '{ended}'"
    );
    let play = with_keeper(play, &body);
    let (_terminal, stdin) = terminal();
    let mut command = play.command(&["run", "--", "touch", "ran"]);
    let child = command.stdin(stdin).process_group(0).spawn().unwrap();
    assert!(eventually(|| play.path("keeping").exists()));
    let pid = Pid::from_child(&child);
    kill_process_group(pid, Signal::INT).unwrap();
    assert!(eventually(|| interrupted(pid)));
    fs::write(play.path("go"), "").unwrap();
    let run = finish_child(child);
    assert_eq!((run.code, play.path("ran").exists()), (Some(130), false), "{run:#?}");
    assert!(run.stderr.contains("the command was interrupted"), "{run:#?}");
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
