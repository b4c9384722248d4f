//! Readers that leave, servers that die, databases that are full.

use std::io::{BufRead, BufReader};

use crate::cluster::{Cluster, builder, finish};

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 20_000);
    let mut child = cluster.command(&["get", "/many/", "--prefix"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    let run = finish(child);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
}

#[test]
fn a_full_database_is_named_and_deleting_works() {
    let cluster = Cluster::of(builder().arg("--quota-backend-bytes=4194304"));
    let value = "v".repeat(100_000);
    cluster.put("/full/first", "v");
    let failed = (0..100).map(|n| cluster.run(&["put", &format!("/full/{n}"), &value])).find(|run| run.code != Some(0));
    failed.unwrap().fails(1, &["over its quota", "NOSPACE", "compact"]);
    cluster.run(&["del", "/full/first", "--yes", "--no-undo"]).ok();
}

#[test]
fn a_server_that_dies_under_a_read_ends_it_with_an_error() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 50_000);
    let mut child = cluster.command(&["--timeout", "2", "get", "/many/", "--prefix"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    let pid = rustix::process::Pid::from_raw(cluster.etcd.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let lines = out.lines().map_while(Result::ok).count();
    let run = finish(child);
    // It may have had everything already; what must not be is an end in silence before that.
    assert!(run.code != Some(0) || lines == 99_999, "{lines} lines: {run:?}");
}
