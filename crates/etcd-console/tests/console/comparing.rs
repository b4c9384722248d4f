//! `diff` with other clusters, and with snapshot files as etcd makes them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;

use testkit::Etcd;

use crate::cluster::{Cluster, builder, eventually};

/// What `etcdctl snapshot save` would write.
fn snapshot(cluster: &Cluster) -> PathBuf {
    let mut bytes = Vec::new();
    for line in cluster.call("maintenance/snapshot", "{}").lines() {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        bytes.extend(
            base64::engine::general_purpose::STANDARD.decode(answer["result"]["blob"].as_str().unwrap()).unwrap(),
        );
    }
    let path = cluster.dir.path().join("snapshot.db");
    fs::write(&path, bytes).unwrap();
    path
}

fn database(cluster: &Cluster) -> PathBuf {
    find(cluster.etcd.dir()).unwrap()
}

fn find(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.ends_with("member/snap/db") => Some(path),
        path => find(&path),
    })
}

fn differences(cluster: &Cluster, before: &str, after: &str) -> String {
    cluster.run(&["diff", before, after, "", "--prefix"]).ok().stdout
}

/// Keys that fill pages of several levels, with all that can happen to a key.
fn keys(cluster: &Cluster) {
    cluster.fill("/many/", 5_000);
    for (key, value) in [("/d/deleted", "x"), ("/d/again", "x"), ("/d/changed", "x"), ("/d/same", "x")] {
        cluster.put(key, value);
    }
    cluster.run(&["del", "/d/deleted", "--yes"]).ok();
    cluster.run(&["del", "/d/again", "--yes"]).ok();
    cluster.put("/d/again", "y");
    cluster.put("/d/large", &"v".repeat(100_000));
}

#[test]
fn a_snapshot_of_any_version_has_the_keys_that_etcd_had() {
    for etcd in Etcd::every() {
        let cluster = Cluster::of(builder().etcd(etcd.wanted().unwrap()));
        let version = cluster.etcd.version();
        let empty = snapshot(&cluster);
        assert_eq!(differences(&cluster, empty.to_str().unwrap(), "0"), "", "{version}");
        keys(&cluster);
        let path = snapshot(&cluster);
        let path = path.to_str().unwrap();
        assert_eq!(differences(&cluster, path, "0"), "", "{version}");
        assert_eq!(differences(&cluster, path, path), "", "{version}");
        assert_eq!(differences(&cluster, "1", path).lines().count(), 5_004, "{version}");
        cluster.put("/d/changed", "y");
        cluster.put("/d/new", "y");
        cluster.run(&["del", "/d/same", "--yes"]).ok();
        let changes = "~ /d/changed  `x` → `y`\n+ /d/new  `y`\n- /d/same  (was `x`)\n";
        assert_eq!(differences(&cluster, path, "0"), changes, "{version}");
        let new = cluster.run(&["diff", "0", path, "/d/new", "--format", "json"]).ok().stdout;
        let new: serde_json::Value = serde_json::from_str(&new).unwrap();
        assert!(new["after"].is_null() && new["before"]["mod_revision"].as_i64() > Some(1), "{version}: {new}");
    }
}

#[test]
fn the_data_of_a_member_is_compared_when_it_is_stopped() {
    let cluster = Cluster::new();
    keys(&cluster);
    let path = database(&cluster);
    let compare = |before: &Path| cluster.run(&["diff", before.to_str().unwrap(), "0", "/d/", "--prefix"]);
    compare(&path).fails(2, &["because: an etcd that runs has it open", "snapshot save FILE"]);
    let copy = cluster.dir.path().join("copy.db");
    let pid = rustix::process::Pid::from_raw(cluster.etcd.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(eventually(|| !cluster.etcd.is_alive()));
    fs::copy(&path, &copy).unwrap();
    let other = Cluster::new();
    let lines = other.run(&["diff", copy.to_str().unwrap(), path.to_str().unwrap(), "", "--prefix"]).ok().stdout;
    assert_eq!(lines, "");
    let lines = other.run(&["diff", "0", path.to_str().unwrap(), "/d/", "--prefix"]).ok().stdout;
    assert!(
        lines.starts_with("+ /d/again  `y`\n+ /d/changed  `x`\n+ /d/large  `v") && lines.ends_with("+ /d/same  `x`\n")
    );
}

#[test]
fn a_file_that_is_no_snapshot_or_damaged_is_refused() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 2_000);
    let whole = fs::read(snapshot(&cluster)).unwrap();
    let path = cluster.dir.path().join("bad.db");
    let compare = || cluster.run(&["diff", path.to_str().unwrap(), "0", "", "--prefix"]);
    compare().fails(
        2,
        &["cannot read ", "bad.db as a snapshot", "because: No such file", "hint: what is compared is a rev"],
    );
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, why) in [
        (&b""[..], "it is not a database of etcd"),
        (b"hello", "it is cut off, or not a snapshot"),
        (&[0; 4096], "it is not a database of etcd"),
        (&whole[..whole.len() - 1], "it is cut off"),
        (&flipped, "it is damaged: its checksum is of other data"),
    ] {
        fs::write(&path, bytes).unwrap();
        compare().fails(2, &[why, "hint: "]);
    }
    // Without its checksum, whatever is damaged: an answer or a refusal, soon, and no panic.
    let database = &whole[..whole.len() - 32];
    let mut refused = 0;
    for seed in 0..40 {
        let mut bytes = database.to_vec();
        // The heads of pages, where damage misleads most, and places in between.
        let at = (seed * 7919 % (bytes.len() / 4096)) * 4096 + seed % 20 * 2;
        bytes[at..at + 4].fill(if seed % 2 == 0 { 0xFF } else { 1 });
        fs::write(&path, bytes).unwrap();
        let run = compare();
        assert!(matches!(run.code, Some(0 | 2)) && !run.stderr.contains("panicked"), "{seed}: {run:?}");
        refused += i32::from(run.code == Some(2));
    }
    assert!(refused > 0);
    compare_directory(&cluster);
}

fn compare_directory(cluster: &Cluster) {
    let dir = cluster.dir.path().to_str().unwrap();
    cluster.run(&["diff", dir, "0"]).fails(2, &["as a snapshot"]);
}

#[test]
fn two_clusters_are_compared() {
    let (here, there) = (Cluster::new(), Cluster::new());
    for (cluster, keys) in [(&here, ["a", "b"]), (&there, ["b", "c"])] {
        for key in keys {
            cluster.put(&format!("/d/{key}"), keys[0]);
        }
    }
    let endpoint = &there.etcd.endpoints()[0];
    assert_eq!(differences(&here, endpoint, "0"), "+ /d/a  `a`\n~ /d/b  `b` → `a`\n- /d/c  (was `b`)\n");
    assert_eq!(differences(&here, "1", endpoint), "+ /d/b  `b`\n+ /d/c  `b`\n", "of this cluster only revision 1");
    there.kill();
    here.run(&["diff", "0", endpoint, "", "--prefix", "--timeout", "1"])
        .fails(3, &["cannot connect", endpoint, &format!("hint: `{endpoint}` leads there: check that it is right")]);
}
