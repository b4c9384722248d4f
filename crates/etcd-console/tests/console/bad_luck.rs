//! Servers that are none, readers that leave, servers that die, databases that are full, odd keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::cluster::{Cluster, Run, builder, eventually, finish, program, undo_file};

fn get_from(url: &str) -> Run {
    let mut command = program();
    finish(command.args(["--endpoints", url, "--timeout", "1", "get", "a"]).spawn().unwrap())
}

#[test]
fn no_server_or_a_silent_one_is_a_clear_error() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let hint = "`--timeout` waits longer; --endpoints leads there";
    get_from(&format!("http://{addr}")).fails(1, &["cannot connect", &addr, "no answer in time", hint]);
    drop(silent);
    get_from(&format!("http://{addr}"))
        .fails(3, &["cannot connect", &addr, "no etcd answers", "because: ", "--endpoints leads there"]);
    let mut command = program();
    let dir = tempfile::tempdir().unwrap();
    let run = finish(command.args(["--home", dir.path().to_str().unwrap(), "get", "a"]).spawn().unwrap());
    run.fails(3, &["etcd `default` is not running", "etcd-up"]);
}

/// Starting an etcd would change nothing: the variable still leads elsewhere.
#[test]
fn a_variable_that_leads_nowhere_is_named_for_the_cause() {
    let cluster = Cluster::new();
    cluster.record(serde_json::json!(cluster.etcd.cluster_id().to_string()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let get = |url: &str, more: &[&str]| {
        let mut command = cluster.of_record(&["--timeout", "1", "get", "a"]);
        finish(command.env("ETCD_ENDPOINTS", url).args(more).spawn().unwrap())
    };
    let hint = "hint: ETCD_ENDPOINTS leads there: unset it, or give `--instance default`";
    get("http://127.0.0.1:1", &[]).fails(3, &["cannot connect at http://127.0.0.1:1", "no etcd answers", hint]);
    get(&silent, &[]).fails(1, &["no answer in time", hint]);
    get("http://127.0.0.1:1", &["--instance", "default"]).ok();
    let by_flag = get("http://127.0.0.1:1", &["--endpoints", "http://127.0.0.1:2"]);
    assert!(!by_flag.stderr.contains("ETCD_ENDPOINTS"), "{by_flag:?}");
    by_flag.fails(3, &["hint: --endpoints leads there; without it the workspace's own etcd is meant"]);
}

#[test]
fn one_cluster_is_named_and_an_instance_by_its_name_alone() {
    let cluster = Cluster::new();
    cluster.record(serde_json::json!(cluster.etcd.cluster_id().to_string()));
    let of = |home: &str, args: &[&str]| {
        let home = cluster.dir.path().join(home);
        finish(program().args(["--home", home.to_str().unwrap()]).args(args).spawn().unwrap())
    };
    std::fs::create_dir(cluster.dir.path().join("home")).unwrap();
    for name in ["../default", "..", ".", "", "/", "default/", "./default", "x/../../default"] {
        let named = format!("`{name}` is not an instance name");
        of("home", &["put", "a", "v", "--instance", name]).fails(2, &[&named, "no path"]);
    }
    of("", &["put", "a", "v", "--instance", "default"]).ok();
    let endpoint = cluster.etcd.endpoints().concat();
    let lines: [&[&str]; 3] = [&["get", "a"], &["watch", "a", "-n", "1"], &["member", "list"]];
    for line in lines {
        let both = of("", &[line, &["--instance", "default", "--endpoints", &endpoint]].concat());
        assert_eq!(both.code, Some(2), "{both:?}");
        assert!(both.stderr.contains("'--instance <NAME>' cannot be used with '--endpoints <URL,…>'"), "{both:?}");
    }
}

#[test]
fn what_is_no_endpoint_is_wrong_usage() {
    for (url, why) in [("ftp://a", "it must begin with http://"), ("http://a:99999", "its port"), ("", "no endpoint")] {
        get_from(url).fails(2, &[why, "write http://HOST:PORT"]);
    }
    let mut command = program();
    let run = finish(command.env("ETCD_ENDPOINTS", "http://a:1,ftp://a").args(["get", "a"]).spawn().unwrap());
    run.fails(2, &["`ftp://a` is not a valid endpoint", "write http://HOST:PORT"]);
    let run = finish(
        program().args(["--endpoints", "https://127.0.0.1:1", "--cacert", "missing.pem", "get", "a"]).spawn().unwrap(),
    );
    run.fails(2, &["cannot read the CA file `missing.pem`", "--cacert, --cert and --key name files in PEM format"]);
}

/// No file may become larger than half a kilobyte.
#[test]
fn a_disk_that_is_full_before_a_deletion_deletes_nothing_and_says_so() {
    let cluster = Cluster::new();
    cluster.fill("/full/", 100);
    let del = cluster.command(&["del", "/full/", "--prefix", "--yes", "--expect-count", "100"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]).arg(del.get_program()).args(del.get_args());
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    finish(shell.spawn().unwrap())
        .fails(1, &["cannot write the undo file", "because: ", "nothing was deleted", "--no-undo"]);
    assert_eq!(cluster.count("/full/"), 100);
}

#[test]
fn a_port_that_is_somebody_elses_is_a_clear_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let answer = |mut stream: TcpStream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        listener.incoming().flatten().for_each(answer);
    });
    get_from(&web).fails(3, &["cannot connect", &web, "no etcd answers"]);
    // Etcd's own other port is mistaken for the client port easily.
    let cluster = Cluster::new();
    let members = cluster.run(&["member", "list", "--format", "json"]).ok().stdout;
    let members: serde_json::Value = serde_json::from_str(&members).unwrap();
    let peer = members[0]["peer_urls"][0].as_str().unwrap();
    get_from(peer).fails(3, &["cannot connect", peer, "no etcd answers"]);
}

#[test]
fn odd_keys_are_deleted_put_back_and_watched_by_the_names_that_are_shown() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    let large = "k".repeat(100_000);
    let keys = [r"odd/nul\0", r"odd/line\n", r"odd/\xff\xff", r#"odd/quo"te'"#, r"odd/back\\slash", &large];
    for key in keys {
        cluster.put(key, "v");
        let said = cluster.run(&["del", key, "--yes"]).ok().stdout;
        assert!(said.starts_with("deleted 1 key at"), "{said}");
        let file = undo_file(&said);
        assert!(cluster.run(&["undo", &file]).ok().stdout.starts_with("restored 1 key of 1"), "{key}");
        assert_eq!(cluster.run(&["get", key, "--keys-only"]).ok().stdout, format!("{key}\n"));
    }
    let rev = (past + 1).to_string();
    let seen = cluster.run(&["watch", "", "--prefix", "--rev", &rev, "-n", "18", "--keys-only"]).ok().stdout;
    for key in keys {
        assert_eq!(seen.matches(&format!("PUT {key}  rev")).count(), 2, "{seen}");
        assert_eq!(seen.matches(&format!("DEL {key}  rev")).count(), 1, "{seen}");
    }
    let preview = cluster.run(&["del", "odd/", "--prefix", "--dry-run"]).ok().stdout;
    assert!(preview.starts_with("would delete 5 keys") && preview.contains(r"  odd/\xff\xff"), "{preview}");
}

/// A file that is checked first and then restored is read more than once.
#[test]
fn an_undo_file_from_a_pipe_is_refused() {
    let cluster = Cluster::new();
    cluster.fill("/pipe/", 3);
    let said = cluster.run(&["del", "/pipe/", "--prefix", "--yes", "--expect-count", "3"]).ok().stdout;
    let file = undo_file(&said);
    let mut child = cluster.command(&["undo", "/dev/stdin"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    // It may have said no before all is written.
    drop(child.stdin.take().unwrap().write_all(&std::fs::read(&file).unwrap()));
    finish(child).fails(1, &["`/dev/stdin` is not a regular file", "nothing was changed", "to a regular file first"]);
    let dir = cluster.dir.path().to_str().unwrap();
    cluster.run(&["undo", dir]).fails(1, &["is not a regular file", "nothing was changed"]);
    assert_eq!(cluster.count("/pipe/"), 0);
    // One that stdin only leads to is a file.
    let stdin = std::fs::File::open(file).unwrap();
    let run = finish(cluster.command(&["undo", "/dev/stdin"]).stdin(stdin).spawn().unwrap());
    assert!(run.ok().stdout.starts_with("restored 3 keys of 3"));
}

#[test]
fn a_cluster_that_wants_a_user_says_so_and_how_to_be_one() {
    let cluster = Cluster::new();
    cluster.call("auth/user/add", r#"{"name":"root","password":"secret"}"#);
    cluster.call("auth/role/add", r#"{"name":"root"}"#);
    cluster.call("auth/user/grant", r#"{"user":"root","role":"root"}"#);
    cluster.call("auth/enable", "{}");
    let lines: [&[&str]; 4] = [&["get", "a"], &["put", "a", "v"], &["del", "a", "--yes"], &["watch", "a"]];
    for line in lines {
        cluster.run(line).fails(1, &["`a` at http://", "refused by etcd: ", "--user NAME"]);
    }
}

#[test]
fn a_watch_whose_reader_has_enough_is_no_error() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    cluster.put("/w/a", "1");
    let rev = (past + 1).to_string();
    let mut child = cluster.command(&["watch", "/w/", "--prefix", "--rev", &rev]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    // It learns that nobody reads any more when it has something to say.
    assert!(eventually(|| {
        cluster.put("/w/a", "2");
        child.try_wait().unwrap().is_some()
    }));
    let run = finish(child);
    assert!(run.code == Some(0) && run.stderr.lines().count() == 1, "{run:?}");
    assert!(run.stderr.starts_with("watching prefix `/w/` at http://"), "{run:?}");
}

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
    // Two pages, of which the second is more than a pipe holds, and a third.
    cluster.fill("/many/", 15_000);
    let mut child = cluster.command(&["--timeout", "2", "get", "/many/", "--prefix"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    cluster.kill();
    let lines = out.lines().map_while(Result::ok).count();
    let run = finish(child);
    // It may have had everything already; what must not be is an end in silence before that.
    assert!(run.code != Some(0) || lines == 29_999, "{lines} lines: {run:?}");
}
