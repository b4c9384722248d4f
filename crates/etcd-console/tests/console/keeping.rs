//! `keep`: the keeper's side of what a runner and it say to each other, and what it does when the runner is gone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, Run, eventually, finish};

const TEST_ROOT: &str = "/Inventory/v1/Test/";

/// A keeper, seen by its runner.
struct Keeper {
    child: Child,
    stdin: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    run: String,
    prefix: String,
    lock: String,
}

fn keeper(cluster: &Cluster, more: &[&str]) -> Keeper {
    let locks = cluster.dir.path().join("locks");
    let runner = std::process::id().to_string();
    let args =
        ["keep", "--lock-dir", locks.to_str().unwrap(), "--runner", &runner, "--command", "a test", "--ttl", "1"];
    let mut child = cluster.command(&[args.as_slice(), more].concat()).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let registered = next(&mut said);
    let text =
        |name: &str| registered["registered"][name].as_str().unwrap_or_else(|| panic!("{registered}")).to_owned();
    let (run, prefix, lock) = (text("run"), text("prefix"), text("lock"));
    Keeper { child, stdin, said, run, prefix, lock }
}

fn next(said: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"))
}

impl Keeper {
    fn tell(&mut self, word: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn end(mut self, word: &str) -> Value {
        self.tell(word);
        let ended = next(&mut self.said);
        finish(self.child).ok();
        ended["ended"].clone()
    }

    fn signal(&self, signal: &str) {
        signal_to(self.child.id(), signal);
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The runner is gone; what the keeper does then is waited for.
    fn orphan(mut self) -> Run {
        drop(self.stdin.take());
        finish(self.child)
    }
}

fn signal_to(pid: u32, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn it_registers_a_run_and_sweeps_it_when_told() {
    let cluster = Cluster::new();
    let keeper = keeper(&cluster, &[]);
    assert_eq!(keeper.prefix, format!("{TEST_ROOT}{}/", keeper.run));
    cluster.fill(&format!("{}t~1/", keeper.prefix), 700);
    let shown = cluster.run(&["runs"]).ok().stdout;
    assert!(shown.contains(&keeper.run) && shown.contains("alive") && shown.contains("700"), "{shown}");
    let lock = keeper.lock.clone();
    let ended = keeper.end("sweep");
    assert_eq!(ended, serde_json::json!({ "keys": 700, "stragglers": false, "lost": false }));
    assert_eq!(cluster.count(""), 0);
    assert!(!std::path::Path::new(&lock).exists());
}

#[test]
fn its_child_finds_the_run_by_variables() {
    let cluster = Cluster::new();
    let mut keeper = keeper(&cluster, &["--no-cleaning"]);
    keeper.tell("keep");
    // They were said with the registration; a second keeper says the same kind.
    let ended = next(&mut keeper.said);
    assert_eq!(ended["ended"]["lost"], false, "{ended}");
    finish(keeper.child).ok();
    let mut other = keeper_raw(&cluster);
    let registered = next(&mut other.1);
    let variables = registered["registered"]["variables"].as_array().unwrap().clone();
    let names: Vec<_> = variables.iter().map(|pair| pair[0].as_str().unwrap()).collect();
    let expected = ["ETCD_ENDPOINTS", "ETCDCTL_API", "ETCDCTL_ENDPOINTS", "ETCD_TEST_PREFIX", "ETCD_TEST_RUN"];
    assert_eq!(names, expected);
    drop(other.0.stdin.take());
    finish(other.0).ok();
}

fn keeper_raw(cluster: &Cluster) -> (Child, BufReader<ChildStdout>) {
    let locks = cluster.dir.path().join("locks");
    let args = ["keep", "--lock-dir", locks.to_str().unwrap(), "--runner", "1", "--ttl", "1"];
    let mut child = cluster.command(&args).stdin(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

#[test]
fn what_is_kept_is_there_until_somebody_cleans() {
    let cluster = Cluster::new();
    let first = keeper(&cluster, &[]);
    cluster.fill(&format!("{}t~1/", first.prefix), 5);
    let (run, prefix) = (first.run.clone(), first.prefix.clone());
    assert_eq!(first.end("keep")["keys"], 0);
    // Nor does the next run take it for garbage.
    keeper(&cluster, &[]).end("sweep");
    assert_eq!(cluster.count(&format!("{prefix}t~1/")), 5);
    let shown = cluster.run(&["runs"]).ok().stdout;
    assert!(shown.contains("kept") && shown.contains(&run), "{shown}");
    let said = cluster.run(&["test-clean"]).ok().stdout;
    assert!(said.starts_with("removed 1 run, 5 keys"), "{said}");
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn a_runner_that_died_has_its_run_swept() {
    let cluster = Cluster::new();
    let keeper = keeper(&cluster, &[]);
    cluster.fill(&format!("{}t~1/", keeper.prefix), 700);
    // What ends a terminal's or a CI job's processes does not end it before.
    for signal in ["-INT", "-TERM", "-HUP"] {
        keeper.signal(signal);
    }
    assert!(cluster.run(&["runs"]).ok().stdout.contains("alive"));
    let run = keeper.orphan();
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn a_runner_that_died_before_anything_was_said_has_its_run_swept() {
    let cluster = Cluster::new();
    let (mut child, said) = keeper_raw(&cluster);
    drop(said);
    // Somebody else may have the other end of that one.
    let _stdin = child.stdin.take();
    let run = finish(child);
    // It could tell nobody that it registered one.
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn a_runner_and_a_keeper_that_were_killed_are_swept_by_the_next() {
    let cluster = Cluster::new();
    let killed = keeper(&cluster, &[]);
    cluster.fill(&format!("{}t~1/", killed.prefix), 700);
    let (run, lock) = (killed.run.clone(), killed.lock.clone());
    killed.kill();
    assert!(eventually(|| cluster.run(&["runs"]).ok().stdout.contains("dead")));
    let next = keeper(&cluster, &[]);
    assert!(eventually(|| !cluster.run(&["runs"]).ok().stdout.contains(&run)), "it sweeps on the way");
    assert_eq!(next.end("sweep")["keys"], 0);
    assert_eq!(cluster.count(""), 0);
    assert!(!std::path::Path::new(&lock).exists());
}

#[test]
fn a_keeper_that_was_killed_is_replaced_while_the_runner_lives() {
    let cluster = Cluster::new();
    let killed = keeper(&cluster, &[]);
    cluster.fill(&format!("{}t~1/", killed.prefix), 5);
    let (run, prefix) = (killed.run.clone(), killed.prefix.clone());
    let runner = std::fs::File::open(&killed.lock).unwrap();
    runner.lock_shared().unwrap();
    killed.kill();
    // Nobody keeps it alive, and it is not dead.
    assert!(eventually(|| cluster.run(&["runs", "--format", "json"]).ok().stdout.contains("holds its lock")));
    assert!(cluster.run(&["test-clean"]).ok().stdout.contains("alive"));
    let next = keeper(&cluster, &["--adopt", &run]);
    assert_eq!((&next.run, &next.prefix), (&run, &prefix));
    drop(runner);
    assert_eq!(next.end("sweep"), serde_json::json!({ "keys": 5, "stragglers": false, "lost": false }));
    assert_eq!(cluster.count(""), 0);
    let args = ["keep", "--lock-dir", "/nonexistent", "--runner", "1", "--adopt", &run];
    let late = cluster.run(&args);
    assert!(late.code == Some(1) && late.stderr.contains("the run is being swept"), "{late:?}");
}

#[test]
fn a_keeper_tells_when_its_run_is_taken_away() {
    let cluster = Cluster::new();
    let mut keeper = keeper(&cluster, &[]);
    cluster.run(&["test-clean", "--all", "--yes"]).ok();
    assert_eq!(next(&mut keeper.said), "lost");
    assert_eq!(keeper.end("sweep")["lost"], true);
}

#[test]
fn a_keeper_outlives_an_etcd_that_is_away_for_a_while() {
    let cluster = Cluster::new();
    let keeper = keeper(&cluster, &[]);
    cluster.fill(&format!("{}t~1/", keeper.prefix), 700);
    signal_to(cluster.etcd.pid(), "-STOP");
    std::thread::park_timeout(std::time::Duration::from_secs(4));
    signal_to(cluster.etcd.pid(), "-CONT");
    assert!(eventually(|| cluster.run(&["runs", "--format", "json"]).ok().stdout.contains("its heartbeat is current")));
    // And away just when the runner dies.
    signal_to(cluster.etcd.pid(), "-STOP");
    let (mut child, mut said) = (keeper.child, keeper.said);
    drop(keeper.stdin);
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    signal_to(cluster.etcd.pid(), "-CONT");
    assert_eq!(next(&mut said)["ended"]["keys"], 700);
    assert!(child.wait().unwrap().success());
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn a_keeper_whose_etcd_is_gone_says_so_and_ends() {
    let cluster = Cluster::new();
    let mut keeper = keeper(&cluster, &["--timeout", "2"]);
    signal_to(cluster.etcd.pid(), "-KILL");
    keeper.tell("sweep");
    let run = finish(keeper.child);
    assert!(matches!(run.code, Some(1 | 3)) && run.stderr.contains("error: "), "{run:?}");
}
