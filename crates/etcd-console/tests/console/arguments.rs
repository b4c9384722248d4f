//! What begins with a dash: an option, a value, or a mistake that changes nothing.

use std::process::Stdio;

use crate::cluster::{Cluster, finish};

#[test]
fn an_option_is_never_taken_for_a_key_a_value_or_a_file() {
    let cluster = Cluster::new();
    cluster.put("k", "old");
    let lines: [&[&str]; 14] = [
        &["put", "k", "--prefix"],
        &["put", "k", "--nope"],
        &["put", "k", "-x"],
        &["put", "--prefix", "v"],
        &["put", "k", "v", "--prefix"],
        &["get", "--nope"],
        &["get", "k", "-x"],
        &["del", "--nope", "--yes"],
        &["del", "k", "--nope", "--yes"],
        &["watch", "k", "--nope"],
        &["undo", "--nope"],
        &["test-clean", "--run", "--yes"],
        &["runs", "--nope"],
        &["member", "list", "--nope"],
    ];
    for line in lines {
        let run = cluster.run(line);
        assert!(run.code == Some(2) && run.stderr.starts_with("error: "), "{line:?}: {run:?}");
    }
    assert_eq!(cluster.run(&["get", "", "--prefix"]).ok().stdout, "k\nold\n");
}

#[test]
fn what_begins_with_a_dash_can_be_written_read_watched_and_deleted() {
    let cluster = Cluster::new();
    let past = cluster.revision().to_string();
    for value in ["-1", "-1.5"] {
        cluster.run(&["put", "-2", value]).ok();
        assert_eq!(cluster.run(&["get", "-2", "--print-value-only"]).ok().stdout, format!("{value}\n"));
    }
    cluster.run(&["put", "--", "--key", "--prefix"]).ok();
    assert_eq!(cluster.run(&["get", "--keys-only", "--", "--key"]).ok().stdout, "--key\n");
    cluster.run(&["put", "k", "--", "--"]).ok();
    assert_eq!(cluster.run(&["get", "k", "--print-value-only"]).ok().stdout, "--\n");
    let seen = cluster.run(&["watch", "-n", "1", "--rev", &past, "--", "--key", "-."]).ok().stdout;
    assert!(seen.contains("PUT --key  --prefix"), "{seen}");
    cluster.run(&["del", "--yes", "--no-undo", "--", "--key"]).ok();
    cluster.run(&["del", "-2", "--yes", "--no-undo"]).ok();
    let file = cluster.dir.path().join("value");
    std::fs::write(&file, "of stdin").unwrap();
    let mut put = cluster.command(&["put", "k", "-"]);
    finish(put.stdin(Stdio::from(std::fs::File::open(&file).unwrap())).spawn().unwrap()).ok();
    assert_eq!(cluster.run(&["get", "k"]).ok().stdout, "k\nof stdin\n");
    assert_eq!(cluster.count("-"), 0);
}
