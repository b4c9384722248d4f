//! The workspace's own etcds with users: who is meant is found by the record, and nobody else gets in.

use std::fs;

use etcd_local::Status;

use crate::keys::play;
use crate::playground::{Playground, etcd};

const USERS: &str = r#"port = "auto"
[[workspace.metadata.etcd.users]]
name = "app"
read = ["/Inventory/v1/shared"]
write = ["/Inventory/v1/app"]"#;

fn get(play: &Playground, key: &str) -> String {
    play.xtask(&["get", key, "--print-value-only"]).ok().stdout
}

fn password(play: &Playground, user: &str) -> String {
    fs::read_to_string(play.path(&format!(".etcd/default/passwords/{user}"))).unwrap()
}

/// What etcd says to somebody without a user.
fn refusal(status: &Status) -> String {
    let url = format!("{}/v3/kv/range", status.endpoints[0]);
    let answer = minreq::post(url).with_body(r#"{"key":"YQ=="}"#).with_timeout(10).send().unwrap();
    answer.as_str().unwrap().to_owned()
}

#[test]
fn an_instance_with_users_is_used_like_any_other() {
    let play = play();
    play.configure(USERS);
    let plain = play.up(&[]);
    play.xtask(&["put", "/Inventory/v1/app/a", "1"]).ok();
    // Switched on while it runs, and found on by those who ask again.
    let up = play.up(&["--auth"]);
    assert_eq!(
        (&up.pids, up.password_file.as_deref()),
        (&plain.pids, Some(&*play.path(".etcd/default/passwords/root")))
    );
    assert_eq!(play.up(&["--auth"]).pids, up.pids);
    assert!(refusal(&up).contains("user name is empty"), "{}", refusal(&up));
    assert_eq!(get(&play, "/Inventory/v1/app/a"), "1\n");
    let root = password(&play, "root");
    let shown = play.xtask(&["env", "--shell", "sh"]).ok().stdout;
    assert!(shown.contains("ETCDCTL_USER='root'") && shown.contains(&root), "{shown}");
    let status = play.xtask(&["etcd-status"]).ok();
    assert!(!status.stdout.contains("warning") && !status.stdout.contains(&root), "{status:?}");
    assert!(status.stdout.contains(" MB in use, quota "), "{status:?}");
    assert!(play.xtask(&["etcd-compact"]).ok().stdout.contains(" MB freed, "));
    let record = fs::read_to_string(play.path(".etcd/default/instance.json")).unwrap();
    assert!(record.contains("password_file") && !record.contains(&root), "{record}");

    // The run gets a user of its own.
    let inside =
        r#"test "$ETCDCTL_USER" != root && "$XTASK" put "${ETCD_TEST_PREFIX}a" 1 && ! "$XTASK" put /Inventory/v1/b 1"#;
    let mut run = play.command(&["run", "--fence", "--", "sh", "-c", inside]);
    run.env("XTASK", env!("CARGO_BIN_EXE_xtask"));
    assert!(testkit::finish(run).ok().stderr.contains("1 key swept"));

    // A user of Cargo.toml.
    let endpoint = up.endpoints[0].clone();
    let file = play.path(".etcd/default/passwords/app");
    let as_app = |line: &[&str]| {
        let user = ["--endpoints", &endpoint, "--user", "app", "--password-file", file.to_str().unwrap()];
        play.xtask(&[line, &user].concat())
    };
    as_app(&["put", "/Inventory/v1/app/b", "2"]).ok();
    as_app(&["get", "/Inventory/v1/shared/b"]).ok();
    as_app(&["put", "/Inventory/v1/shared/b", "2"]).fails(1, &["permission denied", "app"]);

    // Neither a restart nor a lost record nor a reset loses it.
    play.xtask(&["etcd-restart"]).ok();
    assert_eq!(get(&play, "/Inventory/v1/app/b"), "2\n");
    fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
    assert_eq!(get(&play, "/Inventory/v1/app/b"), "2\n");
    let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert!(refusal(&reset).contains("user name is empty"));
    assert_eq!(password(&play, "root"), root);
    as_app(&["put", "/Inventory/v1/app/b", "3"]).ok();
    play.xtask(&["etcd-down"]).ok();
    let again = play.up(&[]);
    assert!(refusal(&again).contains("user name is empty"));
    assert_eq!(get(&play, "/Inventory/v1/app/b"), "3\n");
}

#[test]
fn what_was_interrupted_is_finished_by_the_next_start() {
    let play = play();
    let up = play.up(&["--auth"]);
    let root = password(&play, "root");
    // As if the command had been killed before the record was written.
    let record = play.path(".etcd/default/instance.json");
    let mut fields: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    fields.as_object_mut().unwrap().remove("password_file").unwrap();
    fs::write(&record, fields.to_string()).unwrap();
    play.xtask(&["get", "a"]).fails(1, &["user name is empty"]);
    assert_eq!(play.up(&[]).pids, up.pids);
    play.xtask(&["get", "a"]).ok();
    // Another password than the one of the data.
    fs::write(play.path(".etcd/default/passwords/root"), "another").unwrap();
    play.xtask(&["etcd-up", "--auth"]).fails(1, &["root has another password", "passwords/root"]);
    fs::write(play.path(".etcd/default/passwords/root"), root).unwrap();
    play.xtask(&["get", "a"]).ok();
}

#[test]
fn members_with_tls_and_users_are_one_instance() {
    let play = play();
    let program = etcd("3.6.7");
    let up = play.up(&["--members", "3", "--tls", "--auth", "--etcd", program.to_str().unwrap()]);
    assert!(up.tls.is_some() && up.password_file.is_some(), "{up:?}");
    play.xtask(&["put", "a", "1"]).ok();
    play.xtask(&["etcd-restart"]).ok();
    assert_eq!(get(&play, "a"), "1\n");
    assert!(play.xtask(&["etcd-status"]).ok().stdout.contains(" MB in use, quota "));
    assert!(play.xtask(&["etcd-compact"]).ok().stdout.contains(" MB freed, "));
    for member in ["m1", "m3"] {
        play.xtask(&["etcd-member", "stop", member]).ok();
    }
    play.xtask(&["get", "a"])
        .fails(3, &["has no quorum: 1 of 3 members run", "`cargo xtask etcd-up` starts the others"]);
    play.xtask(&["etcd-reset", "--yes"]).ok();
    play.xtask(&["get", "a", "--print-value-only"]).fails(1, &["there is no key `a`"]);
}
