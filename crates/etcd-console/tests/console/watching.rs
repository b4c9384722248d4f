//! `watch`: what it prints, when it ends, and that nothing is missed.

use std::io::{BufRead, BufReader};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, eventually, finish, next_line};

/// A watch that is known to be under way: it has shown a first change.
fn watch(cluster: &Cluster, args: &[&str], probe: &str) -> (Child, std::sync::mpsc::Receiver<String>) {
    let line: Vec<&str> = ["watch"].iter().chain(args).copied().collect();
    let mut child = cluster.command(&line).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    assert!(eventually(|| {
        cluster.put(probe, "probe");
        lines.recv_timeout(std::time::Duration::from_millis(100)).is_ok()
    }));
    // Probes that came too late to be the first.
    while lines.recv_timeout(std::time::Duration::from_millis(300)).is_ok() {}
    (child, lines)
}

fn next(lines: &std::sync::mpsc::Receiver<String>) -> String {
    lines.recv_timeout(testkit::TIMEOUT).unwrap()
}

#[test]
fn changes_show_old_and_new() {
    let cluster = Cluster::new();
    let (child, lines) = watch(&cluster, &["/w/", "--prefix"], "/w/probe");
    cluster.put("/w/a", "one");
    cluster.put("/outside", "x");
    cluster.put("/w/a", "two");
    cluster.run(&["del", "/w/a", "--yes"]).ok();
    let (first, second, third) = (next(&lines), next(&lines), next(&lines));
    assert!(first.contains("PUT") && first.contains("/w/a") && first.contains("one"), "{first}");
    assert!(second.contains("one → two"), "{second}");
    assert!(third.contains("DEL") && third.contains("two"), "{third}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(finish(child).code, Some(0), "Ctrl-C ends it well");
}

#[test]
fn without_a_key_it_is_the_products_root_and_count_ends_it() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    for key in ["/Inventory/v1/x", "/Inventory/v2", "/Inventory/v1/y"] {
        cluster.put(key, "v");
    }
    let rev = (past + 1).to_string();
    let said = cluster.run(&["watch", "--rev", &rev, "-n", "2"]).ok().stdout;
    assert!(
        said.lines().count() == 2 && said.contains("/Inventory/v1/x") && said.contains("/Inventory/v1/y"),
        "{said}"
    );
}

#[test]
fn json_is_one_object_a_line() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    cluster.put("/j", "1");
    cluster.put("/j", "2");
    cluster.run(&["del", "/j", "--yes"]).ok();
    let said =
        cluster.run(&["watch", "/j", "--rev", &(past + 1).to_string(), "-n", "3", "--format", "json"]).ok().stdout;
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1]["type"], "PUT");
    assert_eq!((&lines[1]["kv"]["value"], &lines[1]["prev_kv"]["value"]), (&"Mg==".into(), &"MQ==".into()));
    assert_eq!(lines[2]["type"], "DELETE");
}

/// A time would look like that of the change, which etcd does not keep.
#[test]
fn what_happened_before_the_watch_has_no_time() {
    for format in ["text", "json"] {
        let cluster = Cluster::new();
        let past = cluster.revision();
        cluster.put("/t/a", "old");
        let rev = (past + 1).to_string();
        let line = ["watch", "/t/", "--prefix", "--rev", &rev, "--format", format];
        let mut child = cluster.command(&line).env("TZ", "UTC0").spawn().unwrap();
        let (said, _) = next_line(BufReader::new(child.stderr.take().unwrap()));
        let at = &cluster.etcd.endpoints()[0];
        assert_eq!(said, format!("watching prefix `/t/` at {at}, from revision {rev}\n"));
        let (old, out) = next_line(BufReader::new(child.stdout.take().unwrap()));
        assert!(
            old.starts_with("earlier                       PUT /t/a") || old.starts_with(r#"{"time":null,"#),
            "{old}"
        );
        cluster.put("/t/b", "new");
        let (new, _) = next_line(out);
        assert!(
            !new.contains("earlier")
                && !new.contains("null")
                && new.contains(if format == "json" { "Z" } else { "+00:00" }),
            "{new}"
        );
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(finish(child).code, Some(0));
    }
}

/// What is written once it says so is seen.
#[test]
fn a_watch_says_what_it_watches_and_from_where_unless_it_is_to_be_quiet() {
    let cluster = Cluster::new();
    let now = cluster.revision();
    let mut child = cluster.command(&["watch", "-n", "1"]).spawn().unwrap();
    let (said, _) = next_line(BufReader::new(child.stderr.take().unwrap()));
    assert!(said.starts_with("watching prefix `/Inventory/v1/` at http://"), "{said}");
    assert!(said.ends_with(&format!(", from revision {}\n", now + 1)), "{said}");
    cluster.put("/Inventory/v1/x", "seen");
    let (shown, _) = next_line(BufReader::new(child.stdout.take().unwrap()));
    assert!(shown.contains("PUT /Inventory/v1/x  seen"), "{shown}");
    assert_eq!(finish(child).code, Some(0));
    let quiet = cluster.run(&["watch", "-q", "--rev", "1", "-n", "1"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""), "{quiet:?}");
}

#[test]
fn a_compacted_past_is_a_gap_and_not_silence() {
    let cluster = Cluster::new();
    cluster.put("/g/a", "1");
    for _ in 0..5 {
        cluster.put("/g/a", "2");
    }
    let now = cluster.revision();
    cluster.call("kv/compaction", &format!(r#"{{"revision":{now}}}"#));
    cluster.put("/g/b", "3");
    let mut child = cluster.command(&["watch", "/g/", "--prefix", "--rev", "2"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.contains("/g/b")).collect();
    assert!(shown.iter().any(|line| line.contains("GAP") && line.contains("all keys follow")), "{shown:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_full_burst_is_seen_once_and_in_order() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    cluster.fill("/b/", 20_000);
    let rev = (past + 1).to_string();
    let said = cluster.run(&["watch", "/b/", "--prefix", "--rev", &rev, "-n", "20000", "--keys-only"]).ok().stdout;
    let mut keys: Vec<&str> =
        said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("/b/"))).collect();
    assert_eq!(keys.len(), 20_000);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20_000, "each once");
}
