//! Keys and endpoints that are not what was meant: nothing is found, and a note says where something is.

use crate::cluster::{Cluster, Run, finish, program};
use crate::terminal::Terminal;

fn filled() -> Cluster {
    let cluster = Cluster::new();
    for key in ["/Inventory/v1/racks/1", "/Inventory/v1/racks/2", "/other/x"] {
        cluster.put(key, "v");
    }
    cluster
}

/// The command that a note names, as a shell reads it, without `cargo xtask`.
#[track_caller]
fn named(run: &Run) -> Vec<String> {
    let line = run.stderr.lines().find_map(|line| line.strip_prefix("note: ")).unwrap_or_else(|| panic!("{run:?}"));
    let (_, line) = line.split_once(": cargo xtask ").unwrap_or_else(|| panic!("{run:?}"));
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_note_leads_to_the_keys_that_were_meant() {
    let cluster = filled();
    let racks = "/Inventory/v1/racks/1\n/Inventory/v1/racks/2\n";
    for (keys, meant) in [
        (&["/Inventory/v1/racks"][..], racks),
        (&["/Inventory/v1/racks/"], racks),
        (&["Inventory/v1/racks"], racks),
        (&["racks/", "--prefix"], racks),
        (&["/racks/", "--prefix"], racks),
        (&["racks/2"], "/Inventory/v1/racks/2\n"),
        (&["/racks/2"], "/Inventory/v1/racks/2\n"),
        (&["other", "--prefix"], "/other/x\n"),
    ] {
        let run = cluster.run(&[&["get"], keys].concat());
        let line = named(&run);
        assert_eq!(run.ok().stdout, "");
        let line: Vec<&str> = line.iter().map(String::as_str).chain(["--keys-only"]).collect();
        // It names the endpoint, too.
        assert_eq!(finish(program().args(&line).spawn().unwrap()).ok().stdout, meant, "{keys:?}");
        assert_eq!(cluster.run(&[&["-q", "get"], keys].concat()).stderr, "");
    }
    let run = cluster.run(&["get", "nothing"]);
    assert!(run.stderr.contains("this workspace's keys begin with `/Inventory/v1/`"), "{run:?}");
    for keys in [&["/Inventory/v1/racks/1"][..], &["/nothing"], &["/a", "/b"], &["", "--prefix"]] {
        assert_eq!(cluster.run(&[&["get"], keys].concat()).stderr, "", "{keys:?}");
    }
}

#[test]
fn every_command_that_finds_nothing_says_where_something_is() {
    let cluster = filled();
    let words = "2 keys begin with `/Inventory/v1/racks/`: cargo xtask ";
    for line in [&["get"][..], &["get", "--count-only"], &["get", "--format", "json"], &["del"], &["del", "--dry-run"]]
    {
        let run = cluster.run(&[line, &["/Inventory/v1/racks"]].concat());
        assert!(run.code == Some(0) && run.stderr.contains(words), "{line:?}: {run:?}");
    }
    let value = cluster.run(&["get", "/Inventory/v1/racks", "--print-value-only"]);
    value.fails(1, &["there is no key", "hint: 2 keys begin with `/Inventory/v1/racks/`"]);
    let terminal = Terminal::new();
    let mut watch = terminal.run(&mut cluster.command(&["watch", "/Inventory/v1/racks"]));
    terminal.wait_for(words);
    let shown = terminal.shown();
    assert!(shown.starts_with("watching `/Inventory/v1/racks` at "), "{shown}");
    assert!(shown.contains("cargo xtask watch /Inventory/v1/racks/ --prefix --endpoints"), "{shown}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(cluster.count("/"), 3, "nothing was deleted");
}

#[test]
fn a_key_without_its_slash_is_written_and_told() {
    let cluster = Cluster::new();
    let run = cluster.run(&["put", "racks/1", "v"]);
    let words = ["note: the key `racks/1` does not begin with a slash, as `/Inventory/v1` does", "del racks/1"];
    assert!(words.iter().all(|words| run.stderr.contains(words)), "{run:?}");
    assert_eq!(run.ok().stdout, "OK\n");
    assert_eq!(cluster.run(&["put", "/racks/1", "v"]).stderr, "");
    assert_eq!(cluster.run_without_root(&["put", "racks/1", "v"]).stderr, "");
}

#[test]
fn two_keys_are_a_range_and_del_says_so() {
    let cluster = Cluster::new();
    for key in ["a", "b", "c"] {
        cluster.put(key, "v");
    }
    let words = "note: `a` to `c` is a range: it contains all keys between them, and not `c` itself\n";
    for line in [&["del", "a", "c", "--dry-run"][..], &["del", "a", "c"]] {
        let run = cluster.run(line);
        assert!(run.stderr.starts_with(words), "{run:?}");
    }
    assert!(!cluster.run(&["del", "a", "--dry-run"]).stderr.contains("range"));
    assert_eq!(cluster.count(""), 3);
}

#[test]
fn a_port_that_is_not_for_clients_is_told_from_none() {
    let get = |endpoint: &str| {
        finish(program().args(["--endpoints", endpoint, "--timeout", "5", "get", "a"]).spawn().unwrap())
    };
    get("localhost").fails(2, &["`localhost`", "it names no port", "hint: write http://HOST:PORT"]);
    get("[::1]").fails(2, &["it names no port"]);
    get("http://127.0.0.1").fails(3, &["`http://127.0.0.1` without a port means port 80", "http://127.0.0.1:2379"]);
    let cluster = Cluster::new();
    let members = cluster.run(&["member", "list", "--format", "json"]).ok().stdout;
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    let peer = members[0]["peer_urls"][0].as_str().unwrap();
    let clients = &cluster.etcd.endpoints()[0];
    let words = format!("hint: `{peer}` is the port for other members; clients use {clients}");
    get(peer).fails(3, &["cannot connect", "no etcd answers", &words]);
    // Followed, it helps.
    get(clients).ok();
}
