//! The page of Cloud Chamber's documentation that teaches etcdctl, line by line, as its reader types it: only the
//! program's name is another. Flags stand before the key or after it, as etcdctl has it.

use std::process::Child;

use crate::cluster::{Cluster, finish};
use crate::terminal::Terminal;

const LOW: &str = "/Inventory/v1/a";
const HIGH: &str = "/Inventory/v1/c";
const PREFIX: &str = "/Inventory/v1/Test/";

fn filled() -> Cluster {
    let cluster = Cluster::new();
    for key in [LOW, "/Inventory/v1/b", HIGH, "/Inventory/v1/Test/x", "/Inventory/v1/Test/y", "/other"] {
        cluster.put(key, "v");
    }
    cluster
}

fn keys(cluster: &Cluster) -> Vec<String> {
    let text = cluster.run(&["get", "", "--prefix", "--keys-only"]).ok().stdout;
    text.lines().map(str::to_owned).collect()
}

#[test]
fn etcdctl_sees_the_members() {
    let cluster = Cluster::new();
    let text = cluster.run(&["member", "list"]).ok().stdout;
    let fields: Vec<&str> = text.trim_end().split(", ").collect();
    let [id, "started", "ephemeral", peer, client, "false"] = fields[..] else { panic!("{text}") };
    assert!(id.len() == 16 && peer.starts_with("http://127.0.0.1:"), "{text}");
    assert_eq!(client, cluster.etcd.endpoints()[0]);
    let json = cluster.run(&["member", "list", "--format", "json"]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["client_urls"][0], &json[0]["learner"]),
        (&id.into(), &client.into(), &false.into())
    );
}

#[test]
fn get_one_key_a_range_and_everything_under_a_prefix() {
    let cluster = filled();
    assert_eq!(cluster.run(&["get", LOW]).ok().stdout, format!("{LOW}\nv\n"));
    assert_eq!(cluster.run(&["get", LOW, HIGH]).ok().stdout, format!("{LOW}\nv\n/Inventory/v1/b\nv\n"));
    let under = format!("{PREFIX}x\nv\n{PREFIX}y\nv\n");
    assert_eq!(cluster.run(&["get", "--prefix", PREFIX]).ok().stdout, under);
    assert_eq!(cluster.run(&["get", PREFIX, "--prefix"]).ok().stdout, under);
    assert_eq!(cluster.run(&["get", "/absent"]).ok().stdout, "");
}

#[test]
fn delete_one_key_a_range_and_everything_under_a_prefix() {
    let cluster = filled();
    let del = |args: &[&str], count: &str| {
        let terminal = Terminal::new();
        let line: Vec<&str> = ["del"].iter().chain(args).copied().collect();
        let child = terminal.run(&mut cluster.command(&line));
        terminal.wait_for(&format!("Delete {count}"));
        terminal.type_line("y");
        assert_eq!(finish(child).code, Some(0), "{}", terminal.shown());
        terminal.wait_for(&format!("deleted {count} at http://"));
    };
    del(&["/other"], "1 key");
    del(&[LOW, HIGH], "2 keys");
    del(&["--prefix", PREFIX], "2 keys");
    assert_eq!(keys(&cluster), [HIGH]);
    // "Very dangerous", the page says of these.
    for dangerous in [["del", "--prefix", "/"], ["del", "", "--prefix"]] {
        cluster
            .run(&dangerous)
            .fails(4, &["refused to delete", "it would delete all keys, also those of other products", "--dry-run"]);
    }
    assert_eq!(keys(&cluster), [HIGH]);
}

/// The keys that a watch shows, of those written after it is there.
fn shown(cluster: &Cluster, args: &[&str], probe: &str) -> Vec<String> {
    let terminal = Terminal::new();
    let line: Vec<&str> = ["watch"].iter().chain(args).copied().collect();
    let child: Child = terminal.run(cluster.command(&line).env("NO_COLOR", "1"));
    assert!(crate::cluster::eventually(|| {
        cluster.put(probe, "probe");
        terminal.shown().contains("probe")
    }));
    for key in [LOW, "/Inventory/v1/b", HIGH, "/Inventory/v1/Test/x", "/other"] {
        cluster.put(key, "seen");
    }
    cluster.put(probe, "last");
    terminal.wait_for("last");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(finish(child).code, Some(0), "{}", terminal.shown());
    let seen = terminal.shown();
    seen.lines()
        .filter(|line| line.contains("seen  rev "))
        .map(|line| line.split(' ').nth(2).unwrap().to_owned())
        .collect()
}

#[test]
fn watch_one_key_a_range_and_everything_under_a_prefix() {
    let cluster = Cluster::new();
    assert_eq!(shown(&cluster, &[LOW], LOW), [LOW]);
    assert_eq!(shown(&cluster, &[LOW, HIGH], LOW), [LOW, "/Inventory/v1/b"]);
    let under = ["/Inventory/v1/Test/x"];
    assert_eq!(shown(&cluster, &["--prefix", PREFIX], "/Inventory/v1/Test/probe"), under);
    assert_eq!(shown(&cluster, &[PREFIX, "--prefix"], "/Inventory/v1/Test/probe"), under);
}
