//! What a run finds of its leases and locks at its end, and of changes elsewhere while it goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_sandbox::etcd_keys::kv::Put;

use crate::fixture::{Server, finished};

#[tokio::test]
async fn locks_are_told_from_leases_and_a_runs_own_heartbeat_is_neither() {
    let server = Server::start();
    let registry = server.registry().await;
    let all = registry.connection().all_keys();
    let before = registry.connection().leases().await.unwrap();
    let run = server.run(&registry, |plan| plan, 1).await;
    let other = server.run(&registry, |plan| plan, 1).await;
    assert_eq!(run.leaks(&before).await.unwrap().named, []);
    let keys = registry.connection().keys(format!("{}a~1/", run.prefix())).unwrap();
    let held = keys.lock("lock").await.unwrap();
    let lease = keys.grant(Duration::from_secs(60)).await.unwrap();
    keys.send(Put::new("leased", "").lease(lease.id())).await.unwrap();
    let empty = all.grant(Duration::from_secs(60)).await.unwrap();
    // Another run's, which has a key.
    let others = all.grant(Duration::from_secs(60)).await.unwrap();
    all.send(Put::new(format!("{}b~1/leased", other.prefix()), "").lease(others.id())).await.unwrap();
    let found = run.leaks(&before).await.unwrap();
    assert_eq!((found.leases, found.locks, found.without_keys), (1, 1, 1), "{found:?}");
    let named: BTreeSet<_> = found.named.iter().map(|lease| (lease.id, &*lease.key, lease.is_lock)).collect();
    let expected = [
        (held.lease().id(), &b"a~1/lock"[..], true),
        (lease.id(), &b"a~1/leased"[..], false),
        (empty.id(), &b""[..], false),
    ];
    assert_eq!(named, BTreeSet::from(expected));
    held.release().await.unwrap();
    lease.revoke().await.unwrap();
    empty.revoke().await.unwrap();
    assert_eq!(run.leaks(&before).await.unwrap().named, []);
}

#[tokio::test]
async fn a_change_elsewhere_is_counted_once_however_often_it_is_looked_for() {
    let server = Server::start();
    let registry = server.registry().await;
    let all = registry.connection().all_keys();
    let run = server.run(&registry, |plan| plan, 1).await;
    let mut search = run.search_escapes();
    assert_eq!(search.look().await.unwrap().changes, 0);
    let mut last = 0;
    for (value, changes) in [("1", 1), ("2", 2)] {
        // One before the run's keys, and one after.
        last = all.put("/Inventory/v1/Racks", value).await.unwrap().revision;
        assert_eq!(search.look().await.unwrap().changes, changes);
        assert_eq!(search.look().await.unwrap().changes, changes);
    }
    all.put("/a", "1").await.unwrap();
    let found = search.look().await.unwrap().clone();
    assert_eq!((found.changes, found.keys), (3, vec![b"/Inventory/v1/Racks".to_vec(), b"/a".to_vec()]));
    assert_eq!(found.revisions.1, last + 1);
    all.put("/a", "2").await.unwrap();
    let compacted = all.put("/a", "3").await.unwrap().revision;
    registry.connection().raw().compact(compacted, None).await.unwrap();
    let found = search.look().await.unwrap();
    assert_eq!((found.changes, found.revisions.1), (5, compacted), "it was told before the compaction");
    // What is compacted before the first look is not known.
    let mut late = run.search_escapes();
    let found = late.look().await.unwrap();
    assert_eq!((found.changes, found.revisions), (0, (compacted + 1, compacted)));
    all.put("/a", "4").await.unwrap();
    assert_eq!(late.look().await.unwrap().changes, 1);
}

#[tokio::test]
async fn a_sandboxs_lease_is_revoked_before_its_process_ends() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 0).await;
    for _ in 0..3 {
        let mut command = server.subject(&["failures::with_a_lease"]);
        command.envs(run.variables());
        finished(command).await.passed(1);
        assert_eq!(run.leaks(&BTreeSet::new()).await.unwrap().named, []);
    }
}
