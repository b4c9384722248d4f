//! What becomes of a run whose processes are killed or interrupted: its keeper is replaced or sweeps, and ends what is left
//! running.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::keepers::{registered, with_keeper};
use super::{Running, count, finish_child, interrupted, terminal, write_keys};
use crate::playground::{Playground, build_console, eventually};

#[test]
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
    assert!(eventually(|| count(&given.endpoints, "/Inventory/v1/Test/") == 0));
    assert!(eventually(|| play.processes().len() == 1), "only etcd: {:#?}", play.processes());
}

#[test]
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
    assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0);
}

#[test]
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
    assert_eq!(count(&given.endpoints, "/Inventory/v1/Test/"), 0);
}

#[test]
fn what_a_killed_runner_leaves_running_is_ended() {
    build_console();
    leftovers_of_a_killed_runner_are_ended();
}

/// What the test above checks, also for a system that lacks something.
pub(crate) fn leftovers_of_a_killed_runner_are_ended() {
    let play = Playground::new();
    let up = play.up(&[]);
    let mut bystander = Command::new("sleep").arg("600").env("ETCD_TEST_RUN", "another").spawn().unwrap();
    // A process that SIGTERM ends, a process that ignores SIGTERM, and a daemon.
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
    assert!(eventually(|| count(&up.endpoints[0], "/Inventory/v1/Test/") == 0));
    assert!(bystander.try_wait().unwrap().is_none(), "another run's process was ended");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(kill_process(daemon().unwrap(), Signal::KILL).is_ok(), "a daemon stays");
}

/// Ctrl-C as a terminal sends it. Shells have what is in the background ignore it.
#[test]
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
        assert_eq!(count(&up.endpoints[0], "/Inventory/v1/Test/") > 0, args.contains(&"--keep"));
    }
}

/// The terminal has told nobody but us.
#[test]
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
