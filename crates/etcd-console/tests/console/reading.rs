//! `get`, `put` and `member list`, with the arguments that Cloud Chamber's documentation teaches.

use crate::cluster::{Cluster, finish, program};

#[test]
fn what_the_documentation_does_with_etcdctl() {
    let cluster = Cluster::new();
    let members = cluster.run(&["member", "list"]).ok();
    assert!(members.contains(", started, ephemeral, http://127.0.0.1:"), "{members}");
    for key in ["/CloudChamber/v0.1/a", "/CloudChamber/v0.1/b", "/CloudChamber/v0.1/c", "/CloudChamber/v0.2"] {
        cluster.put(key, &format!("value of {key}"));
    }
    let one = cluster.run(&["get", "/CloudChamber/v0.1/b"]).ok();
    assert_eq!(one, "/CloudChamber/v0.1/b\nvalue of /CloudChamber/v0.1/b\n");
    let range = cluster.run(&["get", "/CloudChamber/v0.1/a", "/CloudChamber/v0.1/c", "--keys-only"]).ok();
    assert_eq!(range, "/CloudChamber/v0.1/a\n/CloudChamber/v0.1/b\n");
    let prefix = cluster.run(&["get", "/CloudChamber/v0.1/", "--prefix", "--keys-only"]).ok();
    assert_eq!(prefix.lines().count(), 3);
    assert_eq!(cluster.run(&["get", "", "--prefix", "--count-only"]).ok(), "4\n");
    assert_eq!(cluster.run(&["get", "/CloudChamber/v0.1/c", "--from-key", "--count-only"]).ok(), "2\n");
    assert_eq!(cluster.run(&["get", "/absent"]).ok(), "");
    assert_eq!(
        cluster.run(&["get", "/CloudChamber/", "--prefix", "--limit", "1", "--print-value-only"]).ok().lines().count(),
        1
    );
}

#[test]
fn any_byte_is_readable_and_can_be_pasted_back() {
    let cluster = Cluster::new();
    for key in [r"nul\0end", r"line\nend", r"\xff\xfe", r#"quo"te'"#, r"back\\slash", "Käse/数据", r"tab\tend"] {
        cluster.put(key, "v");
        let shown = cluster.run(&["get", key, "--keys-only"]).ok();
        assert_eq!(shown, format!("{key}\n"));
        assert_eq!(cluster.run(&["get", shown.trim_end_matches('\n'), "--print-value-only"]).ok(), "v\n");
    }
    assert_eq!(cluster.run(&["get", r"\xff", "--prefix", "--hex", "--keys-only"]).ok(), "fffe\n");
    let large = "k".repeat(100_000);
    cluster.put(&large, "v");
    assert_eq!(cluster.run(&["get", "kkk", "--prefix", "--keys-only"]).ok().trim_end(), large);
}

#[test]
fn json_has_etcdctls_base64() {
    let cluster = Cluster::new();
    cluster.put("a", "1");
    cluster.put("a", "2");
    let json = cluster.run(&["get", "a", "--format", "json"]).ok();
    assert!(
        json.starts_with(
            r#"{"kvs":[{"key":"YQ==","create_revision":2,"mod_revision":3,"version":2,"value":"Mg=="}],"count":1,"#
        ),
        "{json}"
    );
    let none = cluster.run(&["get", "b", "--format", "json"]).ok();
    assert!(none.starts_with(r#"{"kvs":[],"count":0,"header":{"cluster_id":"#), "{none}");
}

#[test]
fn values_come_from_stdin_and_may_be_large() {
    let cluster = Cluster::new();
    let file = cluster.dir.path().join("value");
    let put = |bytes: usize| {
        std::fs::write(&file, "v".repeat(bytes)).unwrap();
        let mut command = cluster.command(&["put", "large", "-"]);
        finish(command.stdin(std::fs::File::open(&file).unwrap()).spawn().unwrap())
    };
    put(1_500_000).ok();
    assert_eq!(cluster.run(&["get", "large", "--print-value-only"]).ok().trim_end().len(), 1_500_000);
    put(1_600_000).fails(1, &["too large", "`large`"]);
    assert_eq!(cluster.run(&["get", "large", "--print-value-only"]).ok().trim_end().len(), 1_500_000);
}

#[test]
fn many_keys_come_in_order_and_at_one_revision() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 30_000);
    let keys = cluster.run(&["get", "/many/", "--prefix", "--keys-only"]).ok();
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 30_000);
    assert!(keys.is_sorted());
    let json = cluster.run(&["get", "/many/", "--prefix", "--format", "json"]).ok();
    assert_eq!(json.matches("\"key\":").count(), 30_000);
    assert!(json.contains("\"count\":30000"));
}

#[test]
fn the_past_is_read_until_it_is_compacted() {
    let cluster = Cluster::new();
    cluster.put("a", "old");
    let then = cluster.revision();
    cluster.put("a", "new");
    let rev = then.to_string();
    assert_eq!(cluster.run(&["get", "a", "--rev", &rev, "--print-value-only"]).ok(), "old\n");
    cluster.run(&["get", "a", "--rev", "1000000"]).fails(1, &["1000000", "has not happened"]);
    let now = cluster.revision();
    cluster.call("kv/compaction", &format!(r#"{{"revision":{now}}}"#));
    cluster.run(&["get", "a", "--rev", &rev]).fails(1, &[&format!("revision {rev} is compacted"), &now.to_string()]);
}

#[test]
fn bad_keys_are_refused() {
    let cluster = Cluster::new();
    cluster.run(&["get", ""]).fails(2, &["the key is empty"]);
    cluster.run(&["put", "", "v"]).fails(2, &["the key is empty"]);
    cluster.run(&["get", "b", "a"]).fails(2, &["ends before it starts"]);
    cluster.run(&["get", r"a\q"]).fails(2, &["is no escape"]);
    assert_eq!(cluster.run(&["get", "a", "b", "--prefix"]).code, Some(2));
    assert_eq!(cluster.run(&["get"]).code, Some(2));
}

#[test]
fn no_server_or_another_one_is_a_clear_error() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let get = |url: &str| {
        let mut command = program();
        finish(command.args(["--endpoints", url, "--timeout", "1", "get", "a"]).spawn().unwrap())
    };
    get(&format!("http://{addr}")).fails(1, &["cannot connect", &addr, "no answer in time"]);
    drop(silent);
    get(&format!("http://{addr}")).fails(3, &["cannot connect", &addr, "no etcd answers", "etcd-up"]);
    let mut command = program();
    let dir = tempfile::tempdir().unwrap();
    let run = finish(command.args(["--home", dir.path().to_str().unwrap(), "get", "a"]).spawn().unwrap());
    run.fails(3, &["etcd `default` is not running", "etcd-up"]);
}

#[test]
fn every_version_answers() {
    for version in ["3.5.27", "3.6.7", "3.7.2"] {
        let cluster = Cluster::of_version(version);
        cluster.fill("/v/", 3_000);
        assert_eq!(cluster.run(&["get", "/v/", "--prefix"]).ok().lines().count(), 6_000, "{version}");
        cluster.run(&["del", "/v/", "--prefix", "--yes", "--expect-count", "3000"]).ok();
        assert_eq!(cluster.count("/v/"), 0, "{version}");
    }
    let debian = std::path::Path::new("/usr/bin/etcd");
    if debian.exists() {
        let cluster = Cluster::of(crate::cluster::builder().etcd(etcd_local::binary::Wanted::At(debian.to_owned())));
        cluster.fill("/v/", 3_000);
        assert_eq!(cluster.run(&["get", "/v/", "--prefix"]).ok().lines().count(), 6_000, "3.4");
        cluster.run(&["del", "/v/", "--prefix", "--yes", "--expect-count", "3000"]).ok();
        assert_eq!(cluster.count("/v/"), 0, "3.4");
    }
}
