//! Which etcd is the workspace's own: by its lock, whatever the record says, and whatever another cluster says of itself.

use std::fs;

use crate::keys::play;
use crate::playground::gateway;

const OLD: &str = "/Inventory/v1/Test/Standard/old";

/// A copy has the same cluster id in its data, so that the id alone does not tell the two apart.
#[test]
fn the_originals_etcd_is_never_the_copys_own() {
    let original = play();
    let up = original.up(&[]);
    original.xtask(&["put", OLD, "1"]).ok();
    let endpoint = up.endpoints[0].clone();
    let revision = || gateway(&up, "kv/range", r#"{"key":"a2V5"}"#.to_owned())["header"]["revision"].clone();
    let before = revision();
    let copy = play();
    testkit::copy(original.dir.path(), copy.dir.path());

    let named = ["--instance", "default"];
    for line in [&["put", OLD, "2"][..], &["get", OLD], &["del", OLD, "--yes"], &["test-clean"], &["runs"]] {
        copy.xtask(&[line, &named].concat()).fails(3, &["etcd `default` is not running"]);
    }
    let other = ["member", "list", "--instance", "other"];
    copy.xtask(&other).fails(3, &["etcd `other` is not running", "`cargo xtask etcd-up --instance other` starts it"]);
    let clean = ["test-clean", "--endpoints", &endpoint];
    let said = copy.xtask(&clean).ok().stdout;
    assert!(said.contains("1 key, unregistered"), "{said}");
    // The copy's own etcd runs, too.
    let own = copy.up(&[]);
    assert_eq!(own.cluster_id, up.cluster_id);
    assert_ne!(own.endpoints, up.endpoints);
    let said = copy.xtask(&clean).ok().stdout;
    assert!(said.contains("1 key, unregistered"), "{said}");
    assert_eq!(revision(), before);
}

/// By the time of the backup the instance had another port.
#[test]
fn a_record_from_a_backup_is_corrected_as_the_hint_says() {
    let play = play();
    let record = play.path(".etcd/default/instance.json");
    let before = play.up(&[]);
    let backup = fs::read(&record).unwrap();
    play.xtask(&["etcd-down"]).ok();
    let taken = std::net::TcpListener::bind(before.endpoints[0].strip_prefix("http://").unwrap()).unwrap();
    assert_ne!(play.up(&[]).endpoints, before.endpoints);
    drop(taken);
    fs::write(&record, backup).unwrap();
    let hint = "hint: `cargo xtask etcd-status`";
    play.xtask(&["get", OLD, "--timeout", "60"]).fails(3, &[&before.endpoints[0], hint]);
    play.xtask(&["etcd-status"]).ok();
    play.up(&[]);
    play.xtask(&["get", OLD]).ok();
}
