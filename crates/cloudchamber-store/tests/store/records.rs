//! One record at a time: created, read, updated, deleted, and what each says when it cannot.

use cloudchamber_store::{Condition, ErrorKind, Expect, Root};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, key, open};

#[etcd_sandbox::test]
async fn a_record_lives_from_creation_to_deletion(sandbox: Sandbox) -> Outcome {
    let (store, key) = (open(&sandbox).await, key("a/record"));
    assert_eq!(store.read(&key).await?.value, None);

    let created = store.create(&key, "one").await?;
    let read = store.read(&key).await?;
    let record = read.value.unwrap();
    assert!(created > store.connected_at() && read.revision >= created);
    assert_eq!(
        (record.key, &*record.value, record.created, record.revision),
        (key.clone(), &b"one"[..], created, created)
    );

    let updated = store.update(&key, "two", Expect::Any).await?;
    let again = store.update(&key, "three", Expect::Revision(updated)).await?;
    let record = store.read(&key).await?.value.unwrap();
    assert_eq!((&*record.value, record.created, record.revision), (&b"three"[..], created, again));
    assert!(created < updated && updated < again);

    let deleted = store.delete(&key, Expect::Revision(again)).await?;
    assert!(deleted.value && deleted.revision > again);
    let read = store.read(&key).await?;
    assert!(read.value.is_none() && read.revision >= deleted.revision);
    Ok(())
}

#[etcd_sandbox::test]
async fn creating_an_existing_record_is_an_error_and_changes_nothing(sandbox: Sandbox) -> Outcome {
    let (store, key) = (open(&sandbox).await, key("x"));
    let first = store.create(&key, "first").await?;
    let error = store.create(&key, "second").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (&ErrorKind::AlreadyExists { revision: first }, Some(key.as_str())));
    let message =
        format!("cannot create `storetest/x`: the record exists already, with revision {first}; nothing was changed");
    assert_eq!(error.to_string(), message);
    assert_eq!(store.read(&key).await?.value.unwrap().value, b"first");
    Ok(())
}

#[etcd_sandbox::test]
async fn updating_fails_without_a_record_and_with_both_revisions_of_a_conflict(sandbox: Sandbox) -> Outcome {
    let (store, key) = (open(&sandbox).await, key("x"));
    // No revision is one that an absent record has, zero included.
    for expect in
        [Expect::Any, Expect::Revision(0), Expect::Revision(-1), Expect::Revision(1), Expect::Revision(i64::MAX)]
    {
        let error = store.update(&key, "new", expect).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (&ErrorKind::NotFound, Some(key.as_str())), "{expect:?}");
        assert_eq!(error.to_string(), "cannot update `storetest/x`: there is no such record; nothing was changed");
    }
    let first = store.create(&key, "first").await?;
    let second = store.update(&key, "second", Expect::Any).await?;
    for wrong in [first, second + 1, 0, i64::MIN] {
        let error = store.update(&key, "third", Expect::Revision(wrong)).await.unwrap_err();
        let condition = Condition::RevisionEqual(wrong);
        assert_eq!(error.kind(), &ErrorKind::Conflict { condition, found: second });
        let message = format!("the record has revision {second}, but must have revision {wrong}; nothing was changed");
        assert_eq!(error.to_string(), format!("cannot update `storetest/x`: {message}"));
    }
    assert_eq!(store.read(&key).await?.value.unwrap().value, b"second");
    Ok(())
}

#[etcd_sandbox::test]
async fn deleting_an_absent_record_is_an_error_only_with_an_expected_revision(sandbox: Sandbox) -> Outcome {
    let (store, key) = (open(&sandbox).await, key("x"));
    let deleted = store.delete(&key, Expect::Any).await?;
    assert!(!deleted.value && deleted.revision >= store.connected_at());
    let error = store.delete(&key, Expect::Revision(0)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound);

    let first = store.create(&key, "x").await?;
    let error = store.delete(&key, Expect::Revision(first - 1)).await.unwrap_err();
    let condition = Condition::RevisionEqual(first - 1);
    assert_eq!(error.kind(), &ErrorKind::Conflict { condition, found: first });
    assert!(store.delete(&key, Expect::Any).await?.value);
    Ok(())
}

#[etcd_sandbox::test]
async fn keys_are_below_the_namespace_in_one_spelling(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    store.create(&Root::Users.key("User/Admin")?, "1").await?;
    store.create(&Root::StoreTest.key("a")?, "").await?;
    assert!(store.create(&Root::Users.key("uSER/aDMIN")?, "2").await.is_err(), "case makes no other key");
    // The sandbox is the namespace: nothing of it is in the keys that callers see, and everything is below it.
    sandbox.expect_keys([("users/user/admin", "1"), ("storetest/a", "")]).await?;
    Ok(())
}
