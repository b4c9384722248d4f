//! Leases, locks and elections of a namespace, whatever bytes its prefix and their names have: their keys lie in
//! it, come back without its prefix, and go; keys and leases around it stay as they are.

use std::time::Duration;

use etcd_client::GetOptions;
use etcd_keys::kv::{Put, Txn};
use etcd_keys::{Connection, ErrorKind};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fixture;
use crate::model::{bytes, canaries};

async fn everything(connection: &Connection) -> Vec<(Vec<u8>, i64)> {
    let answer = connection.raw().get("", Some(GetOptions::new().with_all_keys())).await.unwrap();
    answer.kvs().iter().map(|kv| (kv.key().to_vec(), kv.mod_revision())).collect()
}

async fn check(connection: &Connection, prefix: &[u8], name: &[u8]) -> Result<(), TestCaseError> {
    let all = connection.all_keys();
    all.delete_range(etcd_keys::KeyRange::all()).await.unwrap();
    let theirs = all.grant(Duration::from_secs(600)).await.unwrap();
    for canary in canaries(prefix) {
        all.send(Put::new(canary, "canary").lease(theirs.id())).await.unwrap();
    }
    let before = everything(connection).await;

    let keys = connection.keys(prefix).unwrap();
    let lease = keys.grant(Duration::from_secs(600)).await.unwrap();
    keys.send(Put::new([name, b"k"].concat(), "").lease(lease.id())).await.unwrap();
    let guard = keys.lock([name, b"l"].concat()).await.unwrap();
    let leads = keys.campaign([name, b"e"].concat(), "value").await.unwrap();
    prop_assert!(guard.key().starts_with(&[name, b"l/"].concat()));
    prop_assert!(leads.key().starts_with(&[name, b"e/"].concat()));
    let leader = keys.leader([name, b"e"].concat()).await.unwrap().unwrap();
    prop_assert_eq!((leader.key.as_slice(), leader.value.as_slice()), (leads.key(), b"value".as_slice()));
    let heard = keys.observe([name, b"e"].concat()).unwrap().try_next().await.unwrap().unwrap();
    prop_assert_eq!(heard.key, leader.key);
    let held = Txn::new().when(guard.is_held()).when(leads.is_leading());
    prop_assert!(keys.send(held).await.unwrap().succeeded);

    let mut ours = vec![lease.id(), guard.lease().id(), leads.lease().id()];
    ours.sort_unstable();
    prop_assert_eq!(keys.leases().await.unwrap(), ours);
    prop_assert_eq!(lease.remaining().await.unwrap().keys, vec![[name, b"k"].concat()]);
    prop_assert_eq!(keys.lease(theirs.id()).remaining().await.unwrap().keys, Vec::<Vec<u8>>::new());
    let refused = keys.lease(theirs.id()).revoke().await.unwrap_err();
    prop_assert!(matches!(refused.kind, ErrorKind::Invalid(_)), "{}", refused);
    let now = everything(connection).await;
    let new = now.iter().filter(|known| !before.contains(known));
    prop_assert!(new.clone().all(|(key, _)| key.starts_with(prefix) && key != prefix));
    prop_assert_eq!(new.count(), 3);

    guard.release().await.unwrap();
    leads.resign().await.unwrap();
    lease.revoke().await.unwrap();
    prop_assert_eq!(everything(connection).await, before, "canaries");
    theirs.revoke().await.unwrap();
    Ok(())
}

#[test]
fn what_is_held_is_held_in_the_namespace() {
    let etcd = fixture::builder().start_ephemeral().unwrap();
    let connection = fixture::runtime().block_on(fixture::connect(&etcd).connect()).unwrap();
    // Quick by default; `PROPTEST_CASES=1000` looks longer.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let case = (bytes(1..4), bytes(0..3));
    let run = |(prefix, name): (Vec<u8>, Vec<u8>)| fixture::runtime().block_on(check(&connection, &prefix, &name));
    TestRunner::new(config).run(&case, run).unwrap();
}
