//! `etcd-up --etcd VERSION` on several members that run: an upgrade one by one, with clients that go on.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use etcd_local::{State, Status};
use serde_json::{Value, json};

use crate::playground::{Playground, encoded, etcd, eventually, gateway, get, put};

/// What each member says of itself.
fn versions(status: &Status) -> Vec<String> {
    let version = |member: &etcd_local::MemberStatus| {
        let answer = minreq::get(format!("{}/version", member.endpoint)).with_timeout(10).send().unwrap();
        let version: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
        version["etcdserver"].as_str().unwrap().to_owned()
    };
    status.members.iter().map(version).collect()
}

fn is_ready(status: &Status) -> bool {
    status.members.len() == 3 && status.members.iter().all(|member| member.state == State::Ready)
}

/// Writes through all endpoints in turn, until it is told to end. What was acknowledged.
fn write(endpoints: &[String], is_over: &AtomicBool, has_written: &AtomicBool) -> Vec<u32> {
    let mut acknowledged = Vec::new();
    for (number, endpoint) in (0..1_000_000).zip(endpoints.iter().cycle()) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({ "key": encoded(number), "value": "dg==" }).to_string();
        let answer = minreq::post(format!("{endpoint}/v3/kv/put")).with_body(body).with_timeout(5).send();
        if answer.is_ok_and(|answer| answer.status_code == 200) {
            acknowledged.push(number);
            has_written.store(true, Ordering::Relaxed);
        }
    }
    acknowledged
}

#[test]
fn members_are_upgraded_one_by_one_and_no_acknowledged_write_is_lost() {
    let play = Playground::new();
    let _here = etcd("3.6.7");
    let first = play.up(&["--members", "3", "--etcd", "3.6.7"]);
    let (is_over, has_written) = (AtomicBool::new(false), AtomicBool::new(false));
    let (up, acknowledged) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&first.endpoints, &is_over, &has_written));
        assert!(eventually(|| has_written.load(Ordering::Relaxed)));
        let up = play.xtask(&["etcd-up", "--etcd", "3.7.2", "--format", "json"]);
        has_written.store(false, Ordering::Relaxed);
        let goes_on = eventually(|| has_written.load(Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        assert!(goes_on);
        (up.ok(), writer.join().unwrap())
    });
    for member in ["m1", "m2", "m3"] {
        let note = format!("note: etcd 3.7.2 upgraded the data of `default/{member}`, which etcd 3.6.7 used last");
        assert!(up.stderr.contains(&note), "{up:?}");
    }
    let status = up.status();
    assert_eq!((status.endpoints.clone(), status.cluster_id), (first.endpoints, first.cluster_id));
    assert_eq!((is_ready(&status), versions(&status)), (true, vec!["3.7.2".to_owned(); 3]));
    assert!(status.pids.iter().all(|pid| !first.pids.contains(pid)));
    for number in acknowledged {
        let answer = gateway(&status, "kv/range", json!({ "key": encoded(number) }).to_string());
        assert!(answer.pointer("/kvs/0").is_some(), "{number} was acknowledged, and is lost");
    }
    assert_eq!(play.up(&["--etcd", "3.7.2"]).pids, status.pids, "the same again changes nothing");
    play.xtask(&["etcd-up", "--etcd", "3.6.7"]).fails(1, &["runs 3.7.2, and cannot go back to 3.6.7", "etcd-reset"]);
    assert_eq!(play.status().pids, status.pids);
}

#[test]
fn an_upgrade_leaves_out_no_minor_version_and_goes_on_where_it_was_killed() {
    let play = Playground::new();
    let _here = [etcd("3.5.27"), etcd("3.6.7")];
    let first = play.up(&["--members", "3", "--etcd", "3.5.27"]);
    put(&first, "b25l");
    play.xtask(&["etcd-up", "--etcd", "3.7.2"])
        .fails(1, &["cannot be upgraded to 3.7.2 at once", "`cargo xtask etcd-up --etcd 3.6` upgrades its members"]);
    assert_eq!(play.status().pids, first.pids);
    let next = play.up(&["--etcd", "3.6"]);
    assert_eq!(versions(&next), vec!["3.6.7".to_owned(); 3]);

    let mut up = play.command(&["etcd-up", "--etcd", "3.7.2"]).spawn().unwrap();
    let records = ["m1", "m2", "m3"].map(|member| play.path(&format!(".etcd/default/{member}/instance.json")));
    let is_new = |path| fs::read_to_string(path).is_ok_and(|record| record.contains("3.7.2"));
    assert!(eventually(|| records.iter().any(is_new)));
    up.kill().unwrap();
    up.wait().unwrap();
    // With no version asked for, all that is stopped is started, and what runs goes on.
    assert!(is_ready(&play.up(&[])));
    let last = play.up(&["--etcd", "3.7.2"]);
    assert_eq!((is_ready(&last), versions(&last)), (true, vec!["3.7.2".to_owned(); 3]));
    assert_eq!((get(&last).as_deref(), last.cluster_id), (Some("b25l"), first.cluster_id));
}
