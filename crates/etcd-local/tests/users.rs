//! Ephemeral clusters in which authentication is on: etcd refuses everybody but `root`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should fail on the spot"
)]

use etcd_local::{Ephemeral, Member, Root};
use serde_json::Value;
use testkit::{Etcd, eventually};

/// What etcd's JSON gateway answers, with its status.
fn ask(member: &Member, call: &str, body: &str, token: Option<&str>) -> (u16, Value) {
    let request = minreq::post(format!("{}/v3/{call}", member.endpoint())).with_body(body).with_timeout(10);
    let answer = match token {
        Some(token) => request.with_header("Authorization", token),
        None => request,
    };
    let answer = answer.send().unwrap();
    (answer.status_code, serde_json::from_slice(answer.as_bytes()).unwrap())
}

/// A token of `root`'s, by one of the members.
fn log_in(member: &Member, password: &str) -> Option<String> {
    let body = format!(r#"{{"name":"{}","password":"{password}"}}"#, Root::NAME);
    let (_, answer) = ask(member, "auth/authenticate", &body, None);
    Some(answer["token"].as_str()?.to_owned())
}

fn only_root_is_let_in(etcd: &Ephemeral) {
    const PUT: &str = r#"{"key":"YQ==","value":"YQ=="}"#;
    let password = etcd.root().unwrap().password();
    for member in etcd.members() {
        assert!(eventually(|| ask(member, "kv/put", PUT, None).1["message"] == "etcdserver: user name is empty"));
        assert_eq!(log_in(member, "root"), None, "another password");
        let token = log_in(member, password).unwrap();
        assert_eq!(ask(member, "kv/put", PUT, Some(&token)).0, 200);
    }
}

#[test]
fn of_one_member_and_of_three_only_root_can_use_a_cluster_with_users() {
    for (version, members) in [(Etcd::V3_5, 1), (Etcd::V3_5, 3), (Etcd::V3_7, 1), (Etcd::V3_7, 3)] {
        let builder = version.builder(env!("CARGO_MANIFEST_DIR"));
        let etcd = builder.members(members).unwrap().auth(true).start_ephemeral().unwrap();
        only_root_is_let_in(&etcd);
        // A member that comes back knows the users.
        let last = etcd.members().last().unwrap();
        last.kill().unwrap();
        etcd.restart(last).unwrap();
        only_root_is_let_in(&etcd);
        etcd.move_leadership(last).unwrap();
        assert_eq!(etcd.leader().unwrap().id(), last.id());
    }
    let plain = Etcd::V3_7.alone(&[]);
    assert!(plain.root().is_none());
    assert_eq!(ask(&plain.members()[0], "kv/range", r#"{"key":"YQ=="}"#, None).0, 200);
}
