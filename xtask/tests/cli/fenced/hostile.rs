//! A process of a fenced run that means harm. What etcd allows any user stands in docs/tests.md; if another version of etcd
//! allows more or less, the table here fails.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::Etcd;

use super::{Cluster, base64};

/// How many keys of others there are.
const CANARIES: usize = 10_000;
const PER_TXN: usize = 100;

fn canary(n: usize) -> String {
    // Others' keys, outside the test root and in it.
    let place = if n.is_multiple_of(2) { "/Inventory/v1/racks" } else { "/Inventory/v1/Test/other" };
    format!("{place}/{n:05}")
}

/// Writes the keys; one is on a lease, whose id is returned.
fn write_canaries(cluster: &Cluster) -> String {
    let lease = cluster.ask(&cluster.root, "lease/grant", &json!({ "TTL": 3600 })).unwrap();
    let lease = lease["ID"].as_str().unwrap().to_owned();
    for first in (0..CANARIES).step_by(PER_TXN) {
        let put = |n: usize| {
            let lease = if n == 0 { lease.as_str() } else { "0" };
            json!({ "requestPut": { "key": base64(&canary(n)), "value": base64("safe"), "lease": lease } })
        };
        let puts: Vec<Value> = (first..first + PER_TXN).map(put).collect();
        cluster.ask(&cluster.root, "kv/txn", &json!({ "success": puts })).unwrap();
    }
    lease
}

/// All keys below these prefixes, with their revisions.
fn keys(cluster: &Cluster) -> Value {
    let all = |prefix: &str| {
        let range = json!({ "key": base64(&format!("{prefix}/")), "range_end": base64(&format!("{prefix}0")) });
        cluster.ask(&cluster.root, "kv/range", &range).unwrap()["kvs"].clone()
    };
    json!([all("/Inventory/v1/racks"), all("/Inventory/v1/Test/other")])
}

/// The first answer of a watch.
fn watch(cluster: &Cluster, token: &str, key: &str, range_end: &str) -> String {
    let url = cluster.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let body = json!({ "create_request": { "key": key, "range_end": range_end } }).to_string();
    let head = format!(
        "POST /v3/watch HTTP/1.1\r\nHost: etcd\r\nAuthorization: {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    BufReader::new(stream).lines().map(Result::unwrap).find(|line| line.starts_with('{')).unwrap()
}

/// A request, and the versions of etcd that allow it to any user.
type Attack = (&'static str, Value, &'static [Etcd]);

const NONE: &[Etcd] = &[];
const OLD: &[Etcd] = &[Etcd::V3_5];
const OLDER: &[Etcd] = &[Etcd::V3_5, Etcd::V3_6];
const ALL: &[Etcd] = &[Etcd::V3_5, Etcd::V3_6, Etcd::V3_7];

/// Requests for the keys and leases of others.
fn on_keys(lease: &str, own: &str) -> Vec<Attack> {
    let (key, own) = (base64(&canary(0)), base64(own));
    let put = json!({ "requestPut": { "key": key, "value": base64("bad") } });
    let get = json!({ "requestRange": { "key": key } });
    let delete = json!({ "requestDeleteRange": { "key": key } });
    let compare = json!({ "key": key, "target": "VERSION", "result": "GREATER", "version": "0" });
    let own_put = json!({ "requestPut": { "key": own, "value": "" } });
    // Not one of the keys that must not change.
    let nested = json!({ "requestPut": { "key": base64("/Inventory/v1/nested"), "value": "" } });
    vec![
        ("kv/range", json!({ "key": key }), NONE),
        ("kv/range", json!({ "key": key, "serializable": true }), NONE),
        ("kv/range", json!({ "key": "AA==", "range_end": "AA==", "count_only": true }), NONE),
        ("kv/range", json!({ "key": own, "range_end": "AA==" }), NONE),
        ("kv/put", json!({ "key": key, "value": base64("bad") }), NONE),
        ("kv/put", json!({ "key": key, "ignore_value": true, "prev_kv": true }), NONE),
        ("kv/put", json!({ "key": own, "lease": lease }), NONE),
        ("kv/deleterange", json!({ "key": key }), NONE),
        ("kv/deleterange", json!({ "key": "AA==", "range_end": "AA==" }), NONE),
        ("kv/txn", json!({ "success": [own_put, put] }), NONE),
        ("kv/txn", json!({ "success": [get] }), NONE),
        ("kv/txn", json!({ "failure": [delete] }), NONE),
        ("kv/txn", json!({ "compare": [compare], "success": [own_put] }), NONE),
        // A hole in old versions: GHSA-rfx7-8w68-q57q.
        ("kv/txn", json!({ "success": [{ "requestTxn": { "success": [nested] } }] }), OLDER),
        ("kv/compaction", json!({ "revision": "2" }), OLDER),
        ("lease/revoke", json!({ "ID": lease }), NONE),
        ("lease/timetolive", json!({ "ID": lease, "keys": true }), NONE),
        ("lease/leases", json!({}), OLDER),
        ("lease/grant", json!({ "TTL": 5 }), ALL),
    ]
}

/// Requests to the cluster and about its users.
fn on_cluster(user: &str) -> Vec<Attack> {
    let everything = json!({ "permType": "READWRITE", "key": "AA==", "range_end": "AA==" });
    vec![
        ("maintenance/snapshot", json!({}), NONE),
        ("maintenance/defragment", json!({}), NONE),
        ("maintenance/hash", json!({}), NONE),
        ("maintenance/hashkv", json!({}), NONE),
        // A member that does not exist.
        ("maintenance/transfer-leadership", json!({ "targetID": "1" }), OLD),
        ("maintenance/downgrade", json!({ "action": "VALIDATE", "version": "3.4.0" }), OLD),
        ("maintenance/status", json!({}), &[Etcd::V3_5, Etcd::V3_7]),
        ("maintenance/alarm", json!({ "action": "GET" }), ALL),
        ("cluster/member/list", json!({}), ALL),
        ("cluster/member/promote", json!({ "ID": "1" }), NONE),
        ("auth/user/list", json!({}), NONE),
        ("auth/role/list", json!({}), NONE),
        ("auth/user/get", json!({ "name": "root" }), NONE),
        ("auth/user/add", json!({ "name": "more", "password": "more" }), NONE),
        ("auth/user/grant", json!({ "user": user, "role": "root" }), NONE),
        ("auth/user/changepw", json!({ "name": "root", "password": "mine" }), NONE),
        ("auth/role/grant", json!({ "name": user, "perm": everything }), NONE),
        ("auth/disable", json!({}), NONE),
    ]
}

#[test]
fn a_hostile_process_reads_and_changes_nothing_of_others() {
    for etcd in [Etcd::V3_5, Etcd::V3_6, Etcd::V3_7] {
        let cluster = Cluster::start(etcd);
        let lease = write_canaries(&cluster);
        let before = keys(&cluster);
        assert_eq!(before[0].as_array().unwrap().len() + before[1].as_array().unwrap().len(), CANARIES);
        let run = cluster.run("root", &["--fence"]);
        let given = run.given();
        let user = given.get("ETCDCTL_USER");
        let token = cluster.token(user, given.get("ETCDCTL_PASSWORD"));
        let attacks = [on_keys(&lease, given.get("ETCD_TEST_PREFIX")), on_cluster(user)].concat();
        for (path, body, allowed) in attacks {
            let denied = match cluster.ask(&token, path, &body) {
                Err(error) => error.contains("permission denied"),
                Ok(_) => false,
            };
            assert_eq!(denied, !allowed.contains(&etcd), "{etcd:?} {path} {body}");
        }
        for (key, range_end) in [(base64(&canary(0)), ""), ("AA==".to_owned(), "AA==")] {
            let answer = watch(&cluster, &token, &key, range_end);
            assert!(answer.contains("\"canceled\":true") && answer.contains("permission denied"), "{answer}");
        }
        assert!(keys(&cluster) == before, "{etcd:?}: keys of others have changed");
        run.end().ok();
        assert_eq!(cluster.users_and_roles(), [""; 0]);
    }
}
