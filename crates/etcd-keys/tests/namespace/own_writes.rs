//! Which changes of a history are a connection's own: etcd does not record it.

use etcd_keys::kv::{Compare, Delete, Get, Put, Txn};
use etcd_keys::watch::EventKind;
use etcd_keys::{Connect, KeyRange, Keys, undo};

/// The changes below the prefix that the connection of `keys` does not know to be its own, but for those of leases; with a
/// `?` before those that may be its own.
async fn not_own(keys: &Keys) -> Vec<String> {
    let mut history = keys.history(KeyRange::all());
    let mut found = Vec::new();
    while let Some(event) = history.try_next().await.unwrap() {
        let lease = event.prev_kv.as_ref().and_then(|kv| kv.lease);
        let answer = keys.connection().own_revisions().unwrap().contain(event.kv.mod_revision);
        if answer == Some(true) || event.kind == EventKind::Delete && lease.is_some() {
            continue;
        }
        let sign = if answer.is_none() { "?" } else { "" };
        found.push(format!("{sign}{:?} {}", event.kind, event.kv.key_str().unwrap()));
    }
    found
}

async fn keys(connect: Connect) -> Keys {
    connect.connect().await.unwrap().keys("/own/").unwrap()
}

on_every_etcd!(own(None): async fn all_ways_to_write_are_remembered(_etcd, connect) {
    let (own, other) = (keys(connect.clone().remember_writes(100)).await, keys(connect).await);
    assert!(other.connection().own_revisions().is_none());
    own.put("a", "1").await.unwrap();
    other.put("a", "2").await.unwrap();
    // The answers of these, which write nothing, have the revision of the other's write.
    own.get("a").await.unwrap();
    own.delete("absent").await.unwrap();
    own.send(Txn::new().when(Compare::absent("a")).then(Put::new("a", "3"))).await.unwrap();
    own.send(Txn::new().then(Get::key("a")).then(Delete::key("absent"))).await.unwrap();
    own.delete_in_chunks(KeyRange::prefix("absent")).await.unwrap();
    // The second branch, and a transaction inside.
    let inner = Txn::new().when(Compare::absent("a")).or_else(Put::new("b", "1"));
    own.send(Txn::new().when(Compare::absent("a")).or_else(inner)).await.unwrap();
    own.delete("b").await.unwrap();
    for n in 0..20 {
        own.put(format!("many/{n:02}"), "x".repeat(100)).await.unwrap();
    }
    let preview = own.preview_delete(KeyRange::prefix("many/")).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("undo");
    undo::write(&preview, &file, |_| ()).await.unwrap();
    preview.into_deletion().run(|_| ()).await.unwrap();
    own.connection().restore(&file).run(|_| ()).await.unwrap();
    let lock = own.lock("lock").await.unwrap();
    other.put("a", "4").await.unwrap();
    lock.release().await.unwrap();
    let leader = own.campaign("election", "one").await.unwrap();
    leader.proclaim("two").await.unwrap();
    leader.resign().await.unwrap();
    other.delete("a").await.unwrap();
    assert_eq!(not_own(&own).await, ["Put a", "Put a", "Delete a"]);
});

on_every_etcd!(own(None): async fn what_is_not_known_is_not_told(_etcd, connect) {
    let (own, other) = (keys(connect.clone().remember_writes(3)).await, keys(connect).await);
    other.put("before", "").await.unwrap();
    for n in 0..4 {
        own.put("a", n.to_string()).await.unwrap();
    }
    other.put("between", "").await.unwrap();
    assert_eq!(not_own(&own).await, ["?Put before", "?Put a", "Put between"], "one is forgotten");

    // Nobody hears the answer to this, or whether it was sent at all.
    tokio::select! {
        biased;
        answer = own.put("lost", "") => panic!("at once: {answer:?}"),
        () = std::future::ready(()) => {}
    }
    other.put("later", "").await.unwrap();
    let found = not_own(&own).await;
    assert!(found.contains(&"?Put between".to_owned()) && found.contains(&"?Put later".to_owned()), "{found:?}");
});

on_every_etcd!(own(None): async fn a_client_that_was_handed_out_leaves_doubt(_etcd, connect) {
    let (own, other) = (keys(connect.clone().remember_writes(3)).await, keys(connect).await);
    other.put("before", "").await.unwrap();
    own.put("a", "1").await.unwrap();
    own.connection().raw().put("/own/raw", "", None).await.unwrap();
    other.put("later", "").await.unwrap();
    own.put("a", "2").await.unwrap();
    assert_eq!(not_own(&own).await, ["Put before", "?Put raw", "?Put later"]);
});
