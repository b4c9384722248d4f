//! Leases: theirs are the keys that go, and nobody else's.

use std::time::{Duration, Instant};

use etcd_keys::kv::Put;
use etcd_keys::{ErrorKind, KeyRange, Keys};

use crate::fixture::{Etcd, keys, skipped};

const LONG: Duration = Duration::from_secs(60);
/// The shortest that these servers grant.
const SHORT: Duration = Duration::from_secs(1);

on_every_etcd! {
    async fn keys_go_with_their_lease(keys) {
        let lease = keys.grant(LONG).await.unwrap();
        keys.send(Put::new("a", "1").lease(lease.id())).await.unwrap();
        keys.put("b", "1").await.unwrap();
        let remaining = lease.remaining().await.unwrap();
        assert_eq!((remaining.granted, remaining.keys), (LONG, vec![b"a".to_vec()]));
        assert!(remaining.ttl > LONG / 2 && lease.renew().await.unwrap() == LONG);
        lease.revoke().await.unwrap();
        assert_eq!(keys.get("a").await.unwrap(), None);
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 1);
        for error in [
            lease.revoke().await.unwrap_err(),
            lease.renew().await.unwrap_err(),
            lease.remaining().await.unwrap_err(),
            lease.keep().await.unwrap_err(),
            keys.send(Put::new("a", "1").lease(lease.id())).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::NoLease, "{error}");
        }
        let error = lease.revoke().await.unwrap_err().to_string();
        assert!(error.contains(&format!("lease {} at http", lease.id())), "{error}");
    }

    async fn leases_of_others_are_theirs(keys) {
        let (ours, others) = (keys.child("ours/").unwrap(), keys.child("others/").unwrap());
        let (bare, used) = (ours.grant(LONG).await.unwrap().id(), ours.grant(LONG).await.unwrap().id());
        let theirs = others.grant(LONG).await.unwrap();
        ours.send(Put::new("a", "").lease(used)).await.unwrap();
        others.send(Put::new("a", "").lease(theirs.id())).await.unwrap();
        let mut expected = vec![bare, used];
        expected.sort_unstable();
        assert_eq!(ours.leases().await.unwrap(), expected);
        assert_eq!(others.leases().await.unwrap(), [theirs.id()]);
        // Another client of the same namespace knows only what keys show.
        let again = keys.child("ours/").unwrap();
        assert_eq!(again.leases().await.unwrap(), [used]);

        let error = ours.lease(theirs.id()).revoke().await.unwrap_err();
        assert!(matches!(&error.kind, ErrorKind::Invalid(why) if why.contains("keys outside of")), "{error}");
        assert_eq!(others.count(KeyRange::all()).await.unwrap(), 1);
        assert_eq!(ours.lease(theirs.id()).remaining().await.unwrap().keys, Vec::<Vec<u8>>::new());
        again.lease(used).revoke().await.unwrap();
        ours.lease(bare).revoke().await.unwrap();
        assert_eq!(ours.leases().await.unwrap(), []);
    }

    async fn of_many_leases_those_that_live_are_known_when_the_rest_has_run_out(keys) {
        let lives = keys.grant(LONG).await.unwrap();
        let mut short = Vec::new();
        for _ in 0..80 {
            short.push(keys.grant(SHORT).await.unwrap().id());
        }
        let mut client = keys.connection().raw().lease_client();
        let began = Instant::now();
        while client.leases().await.unwrap().leases().iter().any(|lease| short.iter().any(|id| id.get() == lease.id())) {
            assert!(began.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Whenever it is that etcd is asked.
        let mut live = vec![lives.id()];
        for _ in 0..80 {
            live.push(keys.grant(LONG).await.unwrap().id());
        }
        live.sort_unstable();
        assert_eq!(keys.leases().await.unwrap(), live);
        for id in live {
            keys.lease(id).revoke().await.unwrap();
        }
    }
}

/// All at once, as it takes its time.
#[tokio::test]
async fn a_lease_lives_as_long_as_it_is_kept() {
    let mut running = tokio::task::JoinSet::new();
    for etcd in [Etcd::System, Etcd::V3_5, Etcd::V3_6, Etcd::V3_7] {
        match keys(etcd, "a_lease_lives_as_long_as_it_is_kept") {
            Some(keys) => drop(running.spawn(lives_as_long_as_it_is_kept(keys))),
            None => skipped("this machine has no such etcd"),
        }
    }
    running.join_all().await;
}

async fn lives_as_long_as_it_is_kept(keys: Keys) {
    let (kept, other, dropped) =
        (keys.grant(SHORT).await.unwrap(), keys.grant(SHORT).await.unwrap(), keys.grant(SHORT).await.unwrap());
    let keeper = kept.keep().await.unwrap();
    drop(dropped.keep().await.unwrap());
    keys.send(Put::new("kept", "").lease(kept.id())).await.unwrap();
    keys.send(Put::new("other", "").lease(other.id())).await.unwrap();
    keys.send(Put::new("dropped", "").lease(dropped.id())).await.unwrap();
    let began = Instant::now();
    // A second longer than the longest of them could live.
    while keys.count(KeyRange::all()).await.unwrap() > 1 || began.elapsed() < SHORT * 2 {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(keeper.is_certain() && keys.get("kept").await.unwrap().is_some());
    kept.revoke().await.unwrap();
    tokio::time::timeout(LONG, keeper.lost()).await.unwrap();
    assert!(!keeper.is_certain());
}
