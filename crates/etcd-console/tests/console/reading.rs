//! `get`, `put` and `member list`, with the arguments that Cloud Chamber's documentation teaches.

use crate::cluster::{Cluster, finish, undo_file};
use crate::terminal::Terminal;

#[test]
fn what_is_printed_and_how_much() {
    let cluster = Cluster::new();
    for key in ["/p/a", "/p/b", "/p/c", "/q"] {
        cluster.put(key, &format!("of {key}"));
    }
    assert_eq!(cluster.run(&["get", "/p/a", "/p/c", "--keys-only"]).ok().stdout, "/p/a\n/p/b\n");
    assert_eq!(
        cluster.run(&["get", "/p/", "--prefix", "--print-value-only"]).ok().stdout,
        "of /p/a\nof /p/b\nof /p/c\n"
    );
    assert_eq!(cluster.run(&["get", "/p/", "--prefix", "--limit", "2", "--keys-only"]).ok().stdout, "/p/a\n/p/b\n");
    assert_eq!(cluster.run(&["get", "/p/c", "--from-key", "--count-only"]).ok().stdout, "2\n");
    assert_eq!(cluster.run(&["get", "", "--prefix", "--count-only"]).ok().stdout, "4\n");
    assert_eq!(cluster.run(&["get", "/p/c", "--hex"]).ok().stdout, "2f702f63\n6f66202f702f63\n");
    let limited = cluster.run(&["get", "/p/", "--prefix", "--limit", "2", "--format", "json"]).ok().stdout;
    assert!(limited.contains(r#"],"more":true,"count":3,"#), "the count is the range's, as etcdctl's is: {limited}");
}

#[test]
fn any_byte_is_readable_and_can_be_pasted_back() {
    let cluster = Cluster::new();
    for key in [r"nul\0end", r"line\nend", r"\xff\xfe", r#"quo"te'"#, r"back\\slash", "Käse/数据", r"tab\tend"] {
        cluster.put(key, "v");
        let shown = cluster.run(&["get", key, "--keys-only"]).ok().stdout;
        assert_eq!(shown, format!("{key}\n"));
        assert_eq!(cluster.run(&["get", shown.trim_end_matches('\n'), "--print-value-only"]).ok().stdout, "v\n");
    }
    assert_eq!(cluster.run(&["get", r"\xff", "--prefix", "--hex", "--keys-only"]).ok().stdout, "fffe\n");
    let large = "k".repeat(100_000);
    cluster.put(&large, "v");
    assert_eq!(cluster.run(&["get", "kkk", "--prefix", "--keys-only"]).ok().stdout.trim_end(), large);
}

/// As etcdctl has it: into a pipe goes the value, with a newline after it, and `put` takes from one all that there is.
#[test]
fn a_value_in_a_pipe_is_the_value_and_on_a_terminal_it_is_readable() {
    let cluster = Cluster::new();
    let put = |key: &str, value: &[u8]| {
        let file = cluster.dir.path().join("value");
        std::fs::write(&file, value).unwrap();
        let mut command = cluster.command(&["put", key, "-"]);
        finish(command.stdin(std::fs::File::open(&file).unwrap()).spawn().unwrap()).ok();
    };
    let get = |key: &str| cluster.command(&["get", key, "--print-value-only"]).output().unwrap().stdout;
    let json: &[u8] = br#"{"path":"C:\\rack","text":"a\nb"}"#;
    for value in [json, b"\xff\0\x1b[31m\\", "zwei\nZeilen: Käse".as_bytes(), b""] {
        put("/k", value);
        assert_eq!(get("/k"), [value, b"\n"].concat());
        put("/copy", &get("/k"));
        assert_eq!(get("/copy"), [value, b"\n\n"].concat(), "the newline is taken for the value's");
    }
    put("/k", json);
    cluster.put("/copy", String::from_utf8(get("/k")).unwrap().trim_end());
    assert_eq!(get("/copy"), get("/k"), "what `$(…)` leaves of it is the value");
    assert_eq!(cluster.run(&["get", "/k", "--print-value-only", "--hex"]).ok().stdout.len(), json.len() * 2 + 1);
    let readable = format!("{}\n", json.escape_ascii().to_string().replace(r#"\""#, "\""));
    assert_eq!(cluster.run(&["get", "/k"]).ok().stdout, format!("/k\n{readable}"), "beside its key it is readable");
    let terminal = Terminal::new();
    let shown = terminal.stdio();
    let child = cluster.command(&["get", "/k", "--print-value-only"]).stdout(shown).spawn().unwrap();
    assert_eq!(finish(child).code, Some(0));
    terminal.wait_for(readable.trim_end());
}

#[test]
fn json_has_etcdctls_base64() {
    let cluster = Cluster::new();
    cluster.put("a", "1");
    cluster.put("a", "2");
    let json = cluster.run(&["get", "a", "--format", "json"]).ok().stdout;
    assert!(
        json.starts_with(
            r#"{"kvs":[{"key":"YQ==","create_revision":2,"mod_revision":3,"version":2,"value":"Mg=="}],"count":1,"#
        ),
        "{json}"
    );
    let none = cluster.run(&["get", "b", "--format", "json"]).ok().stdout;
    assert!(none.starts_with(r#"{"kvs":[],"count":0,"header":{"cluster_id":"#), "{none}");
    let count = cluster.run(&["get", "b", "--count-only", "--format", "json"]).ok().stdout;
    assert_eq!(count, none.replace(r#""kvs":[],"#, ""), "the same header, whatever of the answer is asked for");
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
    assert_eq!(cluster.run(&["get", "large", "--print-value-only"]).ok().stdout.trim_end().len(), 1_500_000);
    // Etcd's limit is 1.5 MiB for all of the request: the value, the key, and some bytes around them.
    let most = (3 << 19) - 64;
    put(most).ok();
    for over in [3 << 19, 3_000_000] {
        put(over).fails(1, &["cannot write `large` at", "over a limit", "larg", "1.5 MiB"]);
    }
    assert_eq!(cluster.run(&["get", "large", "--print-value-only"]).ok().stdout.trim_end().len(), most);
}

#[test]
fn many_keys_come_in_order_and_at_one_revision() {
    let cluster = Cluster::new();
    // Three pages with values, two without.
    cluster.fill("/many/", 12_000);
    let keys = cluster.run(&["get", "/many/", "--prefix", "--keys-only"]).ok().stdout;
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 12_000);
    assert!(keys.is_sorted());
    let json = cluster.run(&["get", "/many/", "--prefix", "--format", "json"]).ok().stdout;
    assert_eq!(json.matches("\"key\":").count(), 12_000);
    assert!(json.contains("\"count\":12000"));
}

#[test]
fn the_past_is_read_until_it_is_compacted() {
    let cluster = Cluster::new();
    cluster.put("a", "old");
    let then = cluster.revision();
    cluster.put("a", "new");
    let rev = then.to_string();
    assert_eq!(cluster.run(&["get", "a", "--rev", &rev, "--print-value-only"]).ok().stdout, "old\n");
    cluster.run(&["get", "a", "--rev", "1000000"]).fails(1, &["1000000", "has not happened"]);
    let now = cluster.revision();
    cluster.call("kv/compaction", &format!(r#"{{"revision":{now}}}"#));
    cluster.run(&["get", "a", "--rev", &rev]).fails(1, &[&format!("revision {rev} is compacted"), &now.to_string()]);
}

#[test]
fn bad_keys_are_refused_by_every_command() {
    let cluster = Cluster::new();
    cluster.put("a", "v");
    for command in ["get", "del", "watch"] {
        cluster.run(&[command, ""]).fails(2, &["the key is empty", "--prefix"]);
        cluster.run(&[command, "b", "a"]).fails(2, &["`b` to `a` ends before it starts", "byte order"]);
        cluster.run(&[command, "a", "a"]).fails(2, &["ends before it starts"]);
        cluster.run(&[command, r"a\q"]).fails(2, &[r"`\q` is not a valid escape", r"`\\`"]);
        assert_eq!(cluster.run(&[command, "a", "b", "--prefix"]).code, Some(2));
    }
    cluster.run(&["put", "", "v"]).fails(2, &["the key is empty"]);
    cluster.run(&["put", r"\x1", "v"]).fails(2, &["is not a valid escape"]);
    assert_eq!(cluster.run(&["get"]).code, Some(2));
    assert_eq!(cluster.count(""), 1);
}

/// What etcd does not do alike in all versions: streams of pages, errors of revisions, watches and their old values.
#[test]
fn every_version_answers() {
    for version in ["3.5.27", "3.6.7", "3.7.2"] {
        answers(&Cluster::of_version(version));
    }
    // 3.4, on the machines that we know.
    let system = std::path::Path::new("/usr/bin/etcd");
    if system.exists() {
        answers(&Cluster::of(crate::cluster::builder().etcd(etcd_local::binary::Wanted::At(system.to_owned()))));
    }
}

fn answers(cluster: &Cluster) {
    let version = cluster.etcd.version();
    cluster.fill("/v/", 1_000);
    let all = cluster.run(&["get", "/v/", "--prefix"]).ok().stdout;
    assert_eq!(all.lines().count(), 2_000, "{version}");
    let past = cluster.revision();
    let said = cluster.run(&["del", "/v/", "--prefix", "--yes", "--expect-count", "1000"]).ok().stdout;
    assert_eq!(cluster.count("/v/"), 0, "{version}");
    let rev = past.to_string();
    assert_eq!(cluster.run(&["get", "/v/", "--prefix", "--rev", &rev]).ok().stdout, all, "{version}");
    let since = (past + 1).to_string();
    let seen = cluster.run(&["watch", "/v/", "--prefix", "--rev", &since, "-n", "1000"]).ok().stdout;
    assert_eq!(
        seen.lines().filter(|line| line.contains("DEL /v/") && line.contains("vvvv")).count(),
        1_000,
        "{version}"
    );
    let file = undo_file(&said);
    assert!(cluster.run(&["undo", &file]).ok().stdout.starts_with("restored 1000 keys"), "{version}");
    assert_eq!(cluster.run(&["get", "/v/", "--prefix"]).ok().stdout, all, "{version}");
    cluster.call("kv/compaction", &format!(r#"{{"revision":{}}}"#, cluster.revision()));
    cluster
        .run(&["get", "/v/", "--prefix", "--rev", &rev])
        .fails(1, &["is compacted; the oldest", "without a revision"]);
    cluster.run(&["get", "/v/", "--prefix", "--count-only", "--rev", "999999"]).fails(1, &["has not happened"]);
    cluster.run(&["watch", "/v/", "--prefix", "--rev", "999999"]).fails(1, &["has not happened"]);
    assert!(cluster.run(&["member", "list"]).ok().stdout.contains(", started, ephemeral, "), "{version}");
}
