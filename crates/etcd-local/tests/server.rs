//! How every server of ours is started: it forgets old history by itself, and no start waits for an election.

#![cfg(target_os = "linux")] // it looks into /proc

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_local::{Builder, Env, Settings};
use testkit::Etcd;

#[test]
fn what_is_old_is_forgotten_and_the_callers_own_flags_win() {
    let temp = tempfile::tempdir().unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).with_temp_dir(temp.path());
    let builder = Builder::with_settings(env, env!("CARGO_MANIFEST_DIR"), Settings::default());
    // Nobody waits for the hours that are usual.
    let etcd = builder.arg("--auto-compaction-retention=1s").start_ephemeral().unwrap();
    let line = fs::read(format!("/proc/{}/cmdline", etcd.pid())).unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    let flags: Vec<&str> = line.split('\0').filter(|flag| flag.starts_with("--auto-compaction-")).collect();
    assert_eq!(
        flags,
        ["--auto-compaction-mode=periodic", "--auto-compaction-retention=4h", "--auto-compaction-retention=1s"]
    );

    let ask = |call: &str, body: &str| {
        let url = format!("{}/v3/kv/{call}", etcd.endpoints()[0]);
        minreq::post(url).with_body(body).with_timeout(10).send().unwrap().as_str().unwrap().to_owned()
    };
    ask("put", r#"{"key":"YQ==","value":"YQ=="}"#);
    let began = Instant::now();
    // Written on, as only what is no more the newest is forgotten.
    while !ask("range", r#"{"key":"YQ==","revision":"2"}"#).contains("has been compacted") {
        assert!(began.elapsed() < Duration::from_secs(60));
        ask("put", r#"{"key":"YQ==","value":"Yg=="}"#);
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// With these flags a server elects itself after ten seconds and more.
#[test]
fn no_start_waits_for_the_election_timeout() {
    for etcd in [Etcd::System, Etcd::V3_5, Etcd::V3_6, Etcd::V3_7].into_iter().filter(|etcd| etcd.wanted().is_some()) {
        let server = etcd.alone(&["--heartbeat-interval=10000", "--election-timeout=50000"]);
        let log = fs::read_to_string(server.log()).unwrap();
        assert!(log.contains("received MsgTimeoutNow"), "{etcd:?}: {log}");
    }
}
