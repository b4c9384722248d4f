//! Elections: one leader, whose word all can hear.

use std::time::Duration;

use etcd_keys::kv::Txn;
use etcd_keys::{Campaign, ErrorKind, KeyRange, Leadership};

on_every_etcd! {
    async fn the_first_leads_and_the_next_follows(keys) {
        assert_eq!(keys.leader("e").await.unwrap(), None);
        let first = keys.campaign("e", "one").await.unwrap();
        let leader = keys.leader("e").await.unwrap().unwrap();
        assert_eq!((leader.key.as_slice(), leader.value.as_slice()), (first.key(), b"one".as_slice()));
        assert!(first.key().starts_with(b"e/") && first.is_certain());
        assert!(keys.send(Txn::new().when(first.is_leading())).await.unwrap().succeeded);

        let rival = Campaign::new("e", "two").within(Duration::from_millis(300));
        assert_eq!(keys.send(rival).await.unwrap_err().kind, ErrorKind::Held);
        assert_eq!(keys.count(KeyRange::prefix("e/")).await.unwrap(), 1);

        let next = tokio::spawn({
            let keys = keys.clone();
            async move { keys.send(Campaign::new("e", "three").within(Duration::from_secs(60))).await }
        });
        first.resign().await.unwrap();
        let next = next.await.unwrap().unwrap();
        assert_eq!(keys.leader("e").await.unwrap().unwrap().value, b"three");
        drop(next);
        assert!(matches!(keys.campaign("", "x").await.unwrap_err().kind, ErrorKind::Invalid(_)));
    }

    async fn what_leaders_say_is_heard(keys) {
        let mut observer = keys.observe("e").unwrap();
        let mut hear = async || {
            let kv = tokio::time::timeout(Duration::from_secs(60), observer.try_next()).await.unwrap().unwrap().unwrap();
            assert!(kv.key.starts_with(b"e/"));
            kv.value
        };
        let (first, leader) = tokio::join!(hear(), async { keys.campaign("e", "one").await.unwrap() });
        assert_eq!(first, b"one");
        leader.proclaim("two").await.unwrap();
        assert_eq!(hear().await, b"two");
        leader.lease().revoke().await.unwrap();
        assert!(leader.proclaim("three").await.is_err());
    }

    async fn leaders_of_one_lease_that_follow_each_other_do_not_both_lead(keys) {
        let lease = keys.grant(Duration::from_secs(60)).await.unwrap();
        let again = || keys.send(Campaign::new("e", "x").lease(lease.id()));
        let (old, other) = (again().await.unwrap(), again().await.unwrap());
        other.resign().await.unwrap();
        let new = again().await.unwrap();
        assert_eq!(new.key(), old.key());
        let leads = async |one: &Leadership| keys.send(Txn::new().when(one.is_leading())).await.unwrap().succeeded;
        assert_eq!((leads(&old).await, leads(&new).await), (false, true));
        old.resign().await.unwrap();
        assert!(leads(&new).await);
        new.resign().await.unwrap();
        assert_eq!(keys.leader("e").await.unwrap(), None);
    }
}
