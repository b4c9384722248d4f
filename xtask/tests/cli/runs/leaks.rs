//! Leases, locks and processes that are left at a run's end are told, and can be denied.

use crate::keys::play;

/// A command of the run's script that is granted a lease, by etcd's JSON gateway.
fn grant(lease: u32) -> String {
    format!("curl -sSf $ETCD_ENDPOINTS/v3/lease/grant -d '{{\"TTL\":60,\"ID\":{lease}}}' >&2;")
}

/// A command that puts a key on a lease.
fn put(key: &str, lease: u32) -> String {
    let key = format!("$(printf %s \"{key}\" | base64 -w0)");
    format!("curl -sSf $ETCD_ENDPOINTS/v3/kv/put -d '{{\"key\":\"'{key}'\",\"lease\":{lease}}}' >&2;")
}

#[test]
fn leases_and_locks_that_are_left_are_told_and_can_be_denied() {
    let play = play();
    let run = |flags: &[&str], script: &str| play.xtask(&[&["run"], flags, &["--", "sh", "-c", script]].concat());
    let tidy = grant(1)
        + &put("${ETCD_TEST_PREFIX}a~1/x", 1)
        + "curl -sSf $ETCD_ENDPOINTS/v3/lease/revoke -d '{\"ID\":1}' >&2;";
    let left = |first: u32| {
        let leases = (first..first + 4).map(grant).collect::<String>();
        let keys = [("a~1/x", first), ("a~1/y", first), (&*format!("b~2/lock/{:x}", first + 1), first + 1)];
        // The last one is not of this run, and another process may have it.
        let keys: String =
            keys.iter().map(|(key, lease)| put(&format!("${{ETCD_TEST_PREFIX}}{key}"), *lease)).collect();
        leases + &keys + &put("/Inventory/v1/racks/1", first + 3)
    };
    let mut first = 0x1000;
    for is_running in [false, true] {
        if is_running {
            play.up(&[]);
        }
        let told = run(&["--deny", "leaks"], &tidy).ok();
        assert!(!told.stderr.contains("at the end of the tests"), "{}", told.stderr);
        let mut words = |is_denied: bool| {
            let script = left(first);
            let mut words = format!(
                "at the end of the tests: 1 lock held: `b~2/lock` (60 s); 1 lease left: {first:016x} (60 s) of 2 keys like `a~1/x`"
            );
            if !is_running {
                words += &format!("; 1 lease without keys left: {:016x} (60 s)", first + 2);
            }
            first += 16;
            (script, words + if is_denied { "" } else { "\n" })
        };
        let (script, expected) = words(false);
        let told = run(&[], &script).ok();
        assert!(told.stderr.contains(&format!("note: {expected}")), "{}", told.stderr);
        let (script, expected) = words(true);
        run(&["--deny", "leaks"], &script).fails(1, &[&expected, "releases its locks"]);
        // Both can be denied; the failure of the command is more important than either.
        let (script, expected) = words(true);
        let failed = run(&["--deny", "escapes,leaks"], &(script + "exit 7"));
        assert_eq!(failed.code, Some(7));
        assert!(failed.stderr.contains(&expected) && failed.stderr.contains("1 change outside"), "{}", failed.stderr);
        // The leases of earlier runs are not this run's.
        run(&["--deny", "leaks"], "true").ok();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn processes_that_go_on_are_told_and_can_be_denied() {
    let play = play();
    // What they print goes elsewhere: the runner waits for the ends of its own pipes.
    let script = "sleep 300 >&- 2>&- & echo $!; setsid sleep 301 >&- 2>&- & echo $!; sleep 0.05 &";
    for (flags, code) in [(&[][..], 0), (&["--deny", "leaks"][..], 1)] {
        let run = play.xtask(&[&["run"], flags, &["--", "sh", "-c", script]].concat());
        let pids: Vec<&str> = run.stdout.lines().collect();
        for pid in &pids {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        assert_eq!(run.code, Some(code), "{run:?}");
        let told = format!("at the end of the tests: 1 process still running: `sleep` ({})\n", pids[0]);
        assert!(run.stderr.contains(&told), "not the daemon, and not what ends by itself: {run:?}");
    }
    assert!(!play.xtask(&["run", "--deny", "leaks", "--", "true"]).ok().stderr.contains("still running"));
}
