//! The log as people read it, wherever it is shown, and as etcd writes it.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::playground::{Playground, build_console};

/// Time, level, message: of a line of etcd's.
fn is_readable(line: &str) -> bool {
    let mut words = line.split(' ');
    words.next().is_some_and(|time| time.len() >= "2026-11-28T04:32:10.115Z".len() && time.contains('T'))
        && words.next().is_some_and(|level| ["INFO", "WARN", "ERROR"].contains(&level))
        && !line.contains("\"msg\"")
}

#[test]
fn logs_are_for_people_and_raw_for_programs() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-down"]).ok();
    let raw = play.xtask(&["etcd-logs", "--format", "json"]).ok().stdout;
    let raw: Vec<Value> = raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = play.xtask(&["etcd-logs"]).ok().stdout;
    assert!(!raw.is_empty() && text.lines().all(is_readable), "{text}");
    assert_eq!(text.lines().count(), raw.len());
    for (line, raw) in text.lines().zip(&raw) {
        assert!(line.contains(raw["msg"].as_str().unwrap().trim_end()) && !line.contains("caller"), "{line}");
    }
}

#[test]
fn the_log_in_the_foreground_and_after_a_failure_is_readable() {
    build_console();
    let play = Playground::new();
    let mut server = play.command(&["etcd-up", "--foreground"]).spawn().unwrap();
    let stderr = BufReader::new(server.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| is_readable(&line) && line.contains("ready to serve client requests")));
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    lines.for_each(drop);
    assert!(server.wait().unwrap().success());

    play.up(&[]);
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let run = play.xtask(&["run", "--", "sh", "-c", &format!("'{xtask}' etcd-down && exit 7")]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let mut tail = run.stderr.lines().skip_while(|line| !line.contains("has ended; the end of its log:")).skip(1);
    assert!(tail.next().is_some_and(is_readable), "{run:?}");
}
