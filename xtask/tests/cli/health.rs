//! A server that is ready, and of no use: its database is full, or it wants a user. It is said, and the way out is one.

use etcd_local::{Builder, Env, Status};
use serde_json::{Value, json};

use crate::keys::play;
use crate::playground::{Playground, Run, gateway, shared_cache};

/// The workspace's instance, with a small database; `etcd-up` has no such flag.
fn up(play: &Playground, version: &str, quota: &str) -> Status {
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", shared_cache());
    let builder = Builder::new(env, play.dir.path()).unwrap().etcd(version.parse().unwrap());
    let instance = builder.arg(format!("--quota-backend-bytes={quota}")).instance("default").unwrap();
    instance.up().unwrap().status
}

/// Writes some keys of half a megabyte over and over, until etcd takes no more.
fn fill(status: &Status) {
    let value = "A".repeat(700_000);
    let full = (0..200).any(|n| {
        let key = ["YQ==", "Yg==", "Yw=="][n % 3];
        let answer = gateway(status, "kv/put", format!(r#"{{"key":"{key}","value":"{value}"}}"#));
        answer["message"].as_str().is_some_and(|message| message.contains("space exceeded"))
    });
    assert!(full, "a small database takes everything");
}

fn health(play: &Playground) -> Value {
    let status: Value = serde_json::from_str(&play.xtask(&["etcd-status", "--format", "json"]).ok().stdout).unwrap();
    status["health"].clone()
}

/// What status and doctor answer, and `etcd-up` says beside its answer.
fn told(play: &Playground) -> [String; 3] {
    let Run { stderr, .. } = play.xtask(&["etcd-up"]).ok();
    [play.xtask(&["etcd-status"]).ok().stdout, play.xtask(&["doctor"]).ok().stdout, stderr]
}

fn full_and_freed(version: &str) {
    let play = play();
    let status = up(&play, version, "16777216");
    assert_eq!((&health(&play)["alarms"], &health(&play)["db"]["quota"]), (&json!([]), &json!(16_777_216)));
    fill(&status);
    assert_eq!(health(&play)["alarms"], json!(["NOSPACE"]));
    for said in told(&play) {
        assert!(said.contains("alarm NOSPACE") && said.contains("`cargo xtask etcd-compact` frees"), "{said}");
    }
    play.xtask(&["put", "d", "v"]).fails(1, &["NOSPACE", "hint: `cargo xtask etcd-compact` frees"]);
    play.xtask(&["run", "--", "true"]).fails(1, &["NOSPACE", "`cargo xtask etcd-compact`"]);

    let freed: Value = serde_json::from_str(&play.xtask(&["etcd-compact", "--format", "json"]).ok().stdout).unwrap();
    let total = |when: &str| freed[when]["total"].as_u64().unwrap();
    assert!(freed["disarmed"] == true && total("after") < total("before") / 2, "{freed}");
    assert_eq!(health(&play)["alarms"], json!([]));
    assert!(told(&play).iter().all(|said| !said.contains("NOSPACE")));
    play.xtask(&["put", "d", "v"]).ok();
    assert_eq!(play.xtask(&["get", "", "--prefix", "--count-only"]).ok().stdout, "4\n", "no key is lost");
    // Again, with nothing to free and at a revision that is compacted.
    for _ in 0..2 {
        assert!(play.xtask(&["etcd-compact"]).ok().stdout.starts_with("compacted etcd `default` at revision "));
    }
}

#[test]
fn a_full_database_is_told_and_freed() {
    full_and_freed("3.7.2");
}

#[test]
fn a_full_database_of_an_older_etcd_is_told_and_freed() {
    full_and_freed("3.5.27");
}

#[test]
fn keys_that_are_more_than_the_quota_are_not_compacted_away() {
    let play = play();
    play.xtask(&["etcd-compact"]).fails(3, &["etcd `default` is not running", "etcd-up"]);
    fill(&up(&play, "3.7.2", "4194304"));
    play.xtask(&["etcd-down"]).ok();
    // Nearly full, and not yet: no write has asked for room.
    up(&play, "3.7.2", "16777216");
    play.xtask(&["etcd-compact"]).ok();
    let size = health(&play)["db"]["total"].as_u64().unwrap();
    play.xtask(&["etcd-down"]).ok();
    let status = up(&play, "3.7.2", &(size + 100_000).to_string());
    for said in told(&play) {
        assert!(said.contains("nearly full") && said.contains("etcd-compact"), "{said}");
    }
    fill(&status);
    play.xtask(&["etcd-down"]).ok();
    up(&play, "3.7.2", "1048576");
    play.xtask(&["etcd-compact"]).fails(1, &["the keys themselves take", "`cargo xtask del`"]);
    assert_eq!(health(&play)["alarms"], json!(["NOSPACE"]));
}

fn locked_and_reset(version: &str) {
    let play = play();
    let status = play.up(&["--etcd", version]);
    for (call, body) in [
        ("user/add", r#"{"name":"root","password":"p"}"#),
        ("user/grant", r#"{"user":"root","role":"root"}"#),
        ("enable", "{}"),
    ] {
        gateway(&status, &format!("auth/{call}"), body.to_owned());
    }
    assert_eq!(health(&play)["auth_enabled"], true);
    for said in told(&play) {
        assert!(said.contains("authentication is enabled") && said.contains("`cargo xtask etcd-reset`"), "{said}");
    }
    play.xtask(&["get", "a"]).fails(1, &["authentication is enabled", "`cargo xtask etcd-reset`"]);
    play.xtask(&["etcd-compact"]).fails(1, &["authentication is enabled", "`cargo xtask etcd-reset`"]);
    play.xtask(&["etcd-reset", "--yes"]).ok();
    assert_eq!(health(&play)["auth_enabled"], false);
    play.xtask(&["put", "a", "b"]).ok();
}

#[test]
fn authentication_that_somebody_enabled_is_told_and_reset_ends_it() {
    locked_and_reset("3.7.2");
}

#[test]
fn authentication_of_an_older_etcd_is_told_and_reset_ends_it() {
    locked_and_reset("3.5.27");
}
