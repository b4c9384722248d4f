//! Many records in one call: all or none where that is said, in chunks where it is not.

use std::collections::BTreeMap;

use cloudchamber_store::{Condition, ErrorKind, Key, MAX_OPERATIONS, Transaction};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, fill, key, keys, open, prefix};

#[etcd_sandbox::test]
async fn all_are_created_or_none(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let revision = store.create_many([(key("a"), "1"), (key("b"), "2"), (key("c"), "3")]).await?;
    let read = store.read_many([key("a"), key("b"), key("c"), key("d")]).await?;
    assert_eq!(read.value.len(), 3);
    assert!(read.value.values().all(|record| record.created == revision && record.revision == revision));

    let error = store.create_many([(key("x"), "4"), (key("b"), "5"), (key("c"), "6")]).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (&ErrorKind::AlreadyExists { revision }, Some("storetest/b")));
    let message = format!(
        "cannot create `storetest/b` in a transaction of 3 keys: the record exists already, with revision {revision}; \
         nothing was changed"
    );
    assert_eq!(error.to_string(), message);
    sandbox.expect_keys([("storetest/a", "1"), ("storetest/b", "2"), ("storetest/c", "3")]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn too_many_keys_for_one_transaction_are_refused(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let many = keys("many", MAX_OPERATIONS + 1);
    let error = store.create_many(many.iter().map(|key| (key.clone(), ""))).await.unwrap_err();
    let too_many = ErrorKind::TooManyKeys { given: 129, most: 128 };
    assert_eq!(error.kind(), &too_many);
    assert!(error.to_string().contains(": one transaction takes at most 128 keys, and 129 are given"), "{error}");
    let error = store.delete_many_at(many.iter().map(|key| (key.clone(), 1))).await.unwrap_err();
    assert_eq!(error.kind(), &too_many);
    assert!(store.list(&prefix("many")).await?.value.is_empty());

    // As many as there may be are none too many, with a condition on each.
    let most = &many[..MAX_OPERATIONS];
    let revision = store.create_many(most.iter().map(|key| (key.clone(), ""))).await?;
    store.delete_many_at(most.iter().map(|key| (key.clone(), revision))).await?;
    sandbox.expect_keys([("", ""); 0]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn any_number_is_read_and_deleted_in_chunks(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (there, absent) = (keys("there", 300), keys("absent", 100));
    let created = fill(&store, &there).await;
    let wanted = || there.iter().chain(&absent).chain(&there[..10]).cloned();

    let read = store.read_many(wanted()).await?;
    assert!(read.revision >= created);
    let expected: BTreeMap<_, _> = there.iter().map(|key| (key.clone(), key.as_str().as_bytes().to_vec())).collect();
    let values: BTreeMap<_, _> = read.value.into_iter().map(|(key, record)| (key, record.value)).collect();
    assert_eq!(values, expected);

    store.create(&key("other"), "stays").await?;
    let deleted = store.delete_many(wanted()).await?;
    assert!(deleted.value == 300 && deleted.revision > read.revision, "{deleted:?}");
    assert_eq!(store.delete_many(wanted()).await?.value, 0);
    sandbox.expect_keys([("storetest/other", "stays")]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn many_are_read_as_of_one_revision(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let all = keys("k", 300);
    fill(&store, &all).await;
    // All have the same value at every revision of one transaction; whoever read two revisions would see it.
    let (writer, first, last) = (store.clone(), all[0].clone(), all[299].clone());
    let writing = tokio::spawn(async move {
        for round in 0.. {
            let value = format!("{round}");
            let both = Transaction::new().write(&first, value.as_str(), Condition::None).write(
                &last,
                value.as_str(),
                Condition::None,
            );
            writer.commit(both).await.unwrap();
        }
    });
    for _ in 0..20 {
        let read = store.read_many(all.clone()).await?;
        assert_eq!(read.value.len(), 300);
        let (first, last) = (&read.value[&all[0]], &read.value[&all[299]]);
        let both_new = first.value == last.value;
        let both_old = first.value == all[0].as_str().as_bytes() && last.value == all[299].as_str().as_bytes();
        assert!(both_new || both_old, "{first:?} {last:?}");
        assert!(first.revision <= read.revision);
    }
    writing.abort();
    Ok(())
}

#[etcd_sandbox::test]
async fn deleting_many_at_their_revisions_is_all_or_none(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let revision = store.create_many([(key("a"), "1"), (key("b"), "2")]).await?;
    let error = store.delete_many_at([(key("a"), revision), (key("b"), revision - 1)]).await.unwrap_err();
    let conflict = ErrorKind::Conflict { condition: Condition::RevisionEqual(revision - 1), found: revision };
    assert_eq!((error.kind(), error.key()), (&conflict, Some("storetest/b")));
    let error = store.delete_many_at([(key("a"), revision), (key("c"), 7)]).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (&ErrorKind::NotFound, Some("storetest/c")));
    sandbox.expect_keys([("storetest/a", "1"), ("storetest/b", "2")]).await?;
    assert!(store.delete_many_at([(key("a"), revision), (key("b"), revision)]).await? > revision);
    sandbox.expect_keys([("", ""); 0]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn operations_on_no_keys_return_the_current_revision(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let now = store.create(&key("a"), "").await?;
    assert!(store.create_many(Vec::<(Key, &str)>::new()).await? >= now);
    assert!(store.read_many([]).await?.revision >= now);
    assert!(store.delete_many([]).await?.revision >= now);
    assert!(store.delete_many_at([]).await? >= now);
    Ok(())
}

#[etcd_sandbox::test]
async fn a_key_that_is_given_twice_is_refused_in_a_transaction(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let error = store.create_many([(key("a"), "1"), (key("A"), "2")]).await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (&ErrorKind::DuplicateKey, Some("storetest/a")));
    sandbox.expect_keys([("", ""); 0]).await?;
    Ok(())
}
