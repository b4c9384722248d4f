//! Locks: one holder, released promptly, given up by all who stop waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_keys::kv::{Put, Txn};
use etcd_keys::lock::{Lock, LockGuard};
use etcd_keys::{ErrorKind, KeyRange};

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(150);

/// Until so many hold a lock in the namespace, or stand in line for it.
async fn count_is(keys: &etcd_keys::Keys, count: u64) {
    let began = Instant::now();
    while u64::try_from(keys.count(KeyRange::all()).await.unwrap()).unwrap() != count {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", keys.prefix("").await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

on_every_etcd! {
    async fn a_lock_is_held_by_one(keys) {
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let holders: Vec<_> = (0..8).map(|_| {
            let (keys, inside, most) = (keys.clone(), inside.clone(), most.clone());
            tokio::spawn(async move {
                let guard = keys.send(Lock::new("l").within(LONG)).await.unwrap();
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.unwrap();
            })
        }).collect();
        for holder in holders {
            holder.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(keys.count(KeyRange::all()).await.unwrap(), 0);
        assert_eq!(keys.leases().await.unwrap(), []);
    }

    async fn its_key_is_relative_and_proves_it(keys) {
        let guard = keys.send(Lock::new("l").ttl(Duration::from_secs(1))).await.unwrap();
        assert_eq!(guard.key(), format!("l/{:x}", guard.lease().id().get()).as_bytes());
        let kv = keys.get(guard.key()).await.unwrap().unwrap();
        assert!(kv.lease == Some(guard.lease().id()) && kv.mod_revision <= guard.revision() && guard.is_certain());
        let write = || Txn::new().when(guard.is_held()).then(Put::new("a", "by the holder"));
        assert!(keys.send(write()).await.unwrap().succeeded);
        guard.lease().revoke().await.unwrap();
        assert!(!keys.send(write()).await.unwrap().succeeded);
        tokio::time::timeout(LONG, guard.lost()).await.unwrap();
        guard.release().await.unwrap();
    }

    async fn who_waits_too_long_stands_in_line_no_more(keys) {
        let guard = keys.lock("l").await.unwrap();
        let error = keys.send(Lock::new("l").within(SOON)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Held);
        assert!(error.to_string().starts_with("cannot lock `/who_waits_too_long_stands_in_line_no_more/l` at"), "{error}");
        let lease = keys.grant(LONG).await.unwrap();
        assert_eq!(keys.send(Lock::new("l").lease(lease.id()).within(SOON)).await.unwrap_err().kind, ErrorKind::Held);
        // Nor who does not even wait for the answer.
        assert!(tokio::time::timeout(SOON, keys.lock("l")).await.is_err());
        guard.release().await.unwrap();
        count_is(&keys, 0).await;
        assert_eq!(keys.leases().await.unwrap(), [lease.id()]);
    }

    async fn a_dropped_guard_lets_the_next_one_in(keys) {
        // It outlasts the one who waits: only the drop can let him in.
        let guard = keys.send(Lock::new("l").ttl(2 * LONG)).await.unwrap();
        let waiting = tokio::spawn({
            let keys = keys.clone();
            async move { keys.send(Lock::new("l").within(LONG)).await }
        });
        count_is(&keys, 2).await;
        drop(guard);
        waiting.await.unwrap().unwrap().release().await.unwrap();
    }

    async fn who_stops_waiting_for_a_release_has_released_all_the_same(keys) {
        let lease = keys.grant(LONG).await.unwrap();
        for n in 0..20 {
            let guard = keys.send(Lock::new(format!("l{n}")).lease(lease.id())).await.unwrap();
            let _ = tokio::time::timeout(Duration::ZERO, guard.release()).await;
        }
        count_is(&keys, 0).await;
        lease.revoke().await.unwrap();
    }

    async fn a_lease_of_ones_own_stays(keys) {
        let lease = keys.grant(LONG).await.unwrap();
        let guard = keys.send(Lock::new("l").lease(lease.id())).await.unwrap();
        keys.send(Put::new("a", "").lease(lease.id())).await.unwrap();
        guard.release().await.unwrap();
        assert_eq!(lease.remaining().await.unwrap().keys, [b"a"]);
        lease.revoke().await.unwrap();
        assert_eq!(keys.send(Lock::new("l").lease(lease.id())).await.unwrap_err().kind, ErrorKind::NoLease);
        assert!(matches!(keys.lock("").await.unwrap_err().kind, ErrorKind::Invalid(_)));
    }

    async fn guards_of_one_lease_that_follow_each_other_do_not_both_hold_it(keys) {
        let lease = keys.grant(LONG).await.unwrap();
        let again = || keys.send(Lock::new("l").lease(lease.id()));
        let (old, other) = (again().await.unwrap(), again().await.unwrap());
        other.release().await.unwrap();
        let new = again().await.unwrap();
        assert_eq!(new.key(), old.key());
        let holds = async |guard: &LockGuard| keys.send(Txn::new().when(guard.is_held())).await.unwrap().succeeded;
        assert_eq!((holds(&old).await, holds(&new).await), (false, true));
        // Nor does the old one take away what is not its own.
        old.release().await.unwrap();
        assert!(holds(&new).await);
        new.release().await.unwrap();
        count_is(&keys, 0).await;
    }
}
