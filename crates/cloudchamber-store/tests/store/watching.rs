//! Watches: which events come, in which order, and how watches end.

use std::time::Duration;

use cloudchamber_store::{Change, ChangeKind, ErrorKind, Event, Expect, Watch};
use etcd_keys::kv::{Put, Txn};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, fill, key, keys, open, prefix};

/// Long enough for any event; a test that waits longer fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn next(watch: &mut Watch) -> Event {
    tokio::time::timeout(TIMEOUT, watch.next()).await.unwrap_or_else(|_| panic!("no event in time")).unwrap()
}

pub(crate) async fn change(watch: &mut Watch) -> Change {
    match next(watch).await {
        Event::Change(change) => change,
        other => panic!("{other:?}"),
    }
}

#[etcd_sandbox::test]
async fn changes_come_in_order_with_both_values_and_the_revision(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (a, b) = (key("w/a"), key("w/b"));
    store.create(&key("w/before"), "").await?;
    let mut watch = store.watch(&prefix("w")).await?;
    // All of this happens before the first call of `next`: a watch begins when it is created.
    let created = store.create(&a, "1").await?;
    store.create(&key("w2/neighbour"), "").await?;
    let updated = store.update(&a, "2", Expect::Any).await?;
    let both = store.create_many([(b.clone(), "3"), (key("w/c"), "4")]).await?;
    let deleted = store.delete(&a, Expect::Any).await?.revision;
    let again = store.create(&a, "5").await?;

    let expected = |key: &_, kind, old: Option<&str>, new: Option<&str>, revision| Change {
        key: Clone::clone(key),
        kind,
        old: old.map(|value| value.as_bytes().to_vec()),
        new: new.map(|value| value.as_bytes().to_vec()),
        revision,
    };
    assert_eq!(change(&mut watch).await, expected(&a, ChangeKind::Created, None, Some("1"), created));
    assert_eq!(change(&mut watch).await, expected(&a, ChangeKind::Updated, Some("1"), Some("2"), updated));
    assert_eq!(change(&mut watch).await, expected(&b, ChangeKind::Created, None, Some("3"), both));
    assert_eq!(change(&mut watch).await, expected(&key("w/c"), ChangeKind::Created, None, Some("4"), both));
    assert_eq!(change(&mut watch).await, expected(&a, ChangeKind::Deleted, Some("2"), None, deleted));
    assert_eq!(change(&mut watch).await, expected(&a, ChangeKind::Created, None, Some("5"), again));
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_of_a_key_has_no_events_of_other_keys(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut watch = store.watch(&key("a")).await?;
    store.create(&key("a/below"), "").await?;
    store.create(&key("ab"), "").await?;
    let created = store.create(&key("a"), "1").await?;
    let change = change(&mut watch).await;
    assert_eq!((change.key, change.revision), (key("a"), created));
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_after_a_list_misses_nothing(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    fill(&store, &keys("l", 3)).await;
    let list = store.list(&prefix("l")).await?;
    let created = store.create(&key("l/new"), "1").await?;
    let mut watch = store.watch_after(&prefix("l"), list.revision)?;
    assert_eq!(change(&mut watch).await.revision, created);
    assert_eq!(watch.since(), list.revision);
    Ok(())
}

#[etcd_sandbox::test(private)]
async fn a_watch_from_the_beginning_has_all_events(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let first = store.create(&key("w/a"), "1").await?;
    let second = store.update(&key("w/a"), "2", Expect::Any).await?;
    for beginning in [0, -1, i64::MIN] {
        let mut watch = store.watch_after(&prefix("w"), beginning)?;
        assert_eq!(change(&mut watch).await.revision, first, "after {beginning}");
        assert_eq!(change(&mut watch).await.revision, second);
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_after_a_future_revision_is_an_error(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    for future in [i64::MAX, i64::MAX - 1, store.connected_at() + 1_000_000_000] {
        let error = store.watch_after(&prefix("w"), future)?.next().await.unwrap_err();
        assert!(error.to_string().contains("has not happened yet"), "{error}");
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_is_closed_while_it_waits(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut watch = store.watch(&prefix("w")).await?;
    let closer = watch.closer();
    let waiting = tokio::spawn(async move { (watch.next().await, watch.next().await) });
    tokio::task::yield_now().await;
    closer.close();
    closer.close();
    let ended = tokio::time::timeout(TIMEOUT, waiting).await.expect("the watch ends")?;
    assert_eq!((ended.0.unwrap_err().kind(), ended.1.unwrap_err().kind()), (&ErrorKind::Closed, &ErrorKind::Closed));
    // The store goes on.
    store.watch(&prefix("w")).await?.close();
    store.create(&key("w/a"), "").await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_ends_with_its_store(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut watch = store.watch(&prefix("w")).await?;
    let waiting = tokio::spawn(async move { (watch.next().await, watch.next().await) });
    tokio::task::yield_now().await;
    store.disconnect()?;
    let (first, second) = tokio::time::timeout(TIMEOUT, waiting).await.expect("the watch ends")?;
    for end in [first, second] {
        assert_eq!(end.unwrap_err().kind(), &ErrorKind::Disconnected);
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn a_watch_outlives_the_store_that_made_it(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let other = open(&sandbox).await;
    let mut watch = store.watch(&prefix("w")).await?;
    drop(store);
    let created = other.create(&key("w/a"), "").await?;
    assert_eq!(change(&mut watch).await.revision, created);
    Ok(())
}

#[etcd_sandbox::test]
async fn dropping_a_wait_loses_nothing(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut watch = store.watch(&prefix("w")).await?;
    let keys = keys("w", 50);
    let (writer, to_write) = (store.clone(), keys.clone());
    let writing = tokio::spawn(async move {
        for key in to_write {
            writer.create(&key, "").await.unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < keys.len() {
        // The wait is given up again and again, at any point.
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(300), watch.next()).await {
            seen.extend(event?.change().map(|change| change.key));
        }
    }
    writing.await?;
    assert_eq!(seen, keys);
    Ok(())
}

#[etcd_sandbox::test]
async fn after_a_key_that_is_not_the_stores_a_watch_goes_on(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut watch = store.watch(&prefix("w")).await?;
    // In one transaction, so that they come in one message.
    let foreign = Put::new("storetest/w/UPPER", "");
    sandbox
        .send(Txn::new().then(foreign).then(Put::new("storetest/w/a", "")).then(Put::new("storetest/w/b", "")))
        .await?;
    let error = tokio::time::timeout(TIMEOUT, watch.next()).await?.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidKey { .. }), "{error}");
    assert_eq!([change(&mut watch).await.key, change(&mut watch).await.key], [key("w/a"), key("w/b")]);
    Ok(())
}

#[etcd_sandbox::test(private)]
async fn compacted_revisions_are_a_gap_and_the_records_follow(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (stays, changing, goes) = (key("w/stays"), key("w/changes"), key("w/goes"));
    let start = store.create_many([(stays, "1"), (changing.clone(), "2"), (goes.clone(), "3")]).await?;
    let mut watch = store.watch_after(&prefix("w"), start)?;
    let changed = store.update(&changing, "4", Expect::Any).await?;
    let deleted = store.delete(&goes, Expect::Any).await?.revision;
    let created = store.create(&key("w/new"), "5").await?;
    sandbox.raw().compact(created, None).await?;

    let Event::Missed { from, to, all } = next(&mut watch).await else { panic!("no gap") };
    assert!(from == start + 1 && to >= created && to >= deleted, "{from} {to}");
    // The watch has read nothing before the gap, and cannot know what was deleted: all records follow.
    assert!(all);
    let mut changes = Vec::new();
    for _ in 0..3 {
        let change = change(&mut watch).await;
        changes.push((change.key, change.kind, change.new, change.revision));
    }
    changes.retain(|(key, ..)| *key != crate::fixture::key("w/stays"));
    assert_eq!(changes[0], (changing, ChangeKind::Updated, Some(b"4".to_vec()), changed));
    assert_eq!(changes[1], (key("w/new"), ChangeKind::Created, Some(b"5".to_vec()), created));
    Ok(())
}
