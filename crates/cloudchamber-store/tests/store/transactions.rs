//! Transactions: each condition, failed ones, and the scenarios of Cloud Chamber's first store.

use cloudchamber_store::{Committed, Condition, Error, ErrorKind, Key, Store, Transaction};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, fill, key, keys, open};

/// Every condition with a revision around this one.
fn conditions(revision: i64) -> Vec<Condition> {
    let with_revision = [
        Condition::RevisionEqual,
        Condition::RevisionNotEqual,
        Condition::RevisionLess,
        Condition::RevisionLessOrEqual,
        Condition::RevisionGreater,
        Condition::RevisionGreaterOrEqual,
    ];
    let around = [i64::MIN, -1, 0, 1, revision - 1, revision, revision + 1, i64::MAX];
    let all = with_revision.iter().flat_map(|condition| around.map(condition));
    [Condition::None, Condition::Create, Condition::Required].into_iter().chain(all).collect()
}

async fn failure(store: &Store, transaction: Transaction) -> Error {
    store.commit(transaction).await.unwrap_err()
}

#[etcd_sandbox::test]
async fn each_condition_means_in_etcd_what_it_says(sandbox: Sandbox) -> Outcome {
    let (store, present, absent) = (open(&sandbox).await, key("present"), key("absent"));
    let revision = store.create(&present, "x").await?;
    for (key, found) in [(&present, Some(revision)), (&absent, None)] {
        for condition in conditions(revision) {
            match store.commit(Transaction::new().read(key, condition)).await {
                Ok(Committed { found: records, .. }) => {
                    assert!(condition.holds(found), "{key:?} {condition:?}");
                    assert_eq!(records.get(key).map(|record| record.revision), found);
                }
                Err(error) => {
                    assert!(!condition.holds(found), "{key:?} {condition:?}");
                    let expected = match (condition, found) {
                        (_, None) => ErrorKind::NotFound,
                        (Condition::Create, Some(revision)) => ErrorKind::AlreadyExists { revision },
                        (condition, Some(found)) => ErrorKind::Conflict { condition, found },
                    };
                    assert_eq!((error.kind(), error.key()), (&expected, Some(key.as_str())));
                }
            }
        }
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn a_failed_condition_names_its_key_and_changes_nothing(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let revision = store.create_many([(a.clone(), "1"), (b.clone(), "2")]).await?;
    let attempts = [
        (
            Transaction::new().write(&a, "x", Condition::None).delete(&c, Condition::Required),
            &c,
            "cannot delete `storetest/c` in a transaction of 2 keys: there is no such record".to_owned(),
        ),
        (
            Transaction::new().delete(&b, Condition::None).write(&a, "x", Condition::Create),
            &a,
            format!(
                "cannot create `storetest/a` in a transaction of 2 keys: the record exists already, with revision \
                 {revision}"
            ),
        ),
        (
            Transaction::new().write(&c, "x", Condition::Create).read(&b, Condition::RevisionLess(revision)),
            &b,
            format!(
                "cannot read `storetest/b` in a transaction of 2 keys: the record has revision {revision}, but must have \
                 a revision before {revision}"
            ),
        ),
        // The first that fails in the transaction's order, although a step before it has no condition and a later step
        // fails, too.
        (
            Transaction::new().write(&c, "x", Condition::None).delete(&b, Condition::RevisionNotEqual(revision)).write(
                &a,
                "x",
                Condition::Create,
            ),
            &b,
            format!(
                "cannot delete `storetest/b` in a transaction of 3 keys: the record has revision {revision}, but must \
                 have a revision other than {revision}"
            ),
        ),
    ];
    for (transaction, failing, expected) in attempts {
        let error = failure(&store, transaction).await;
        assert_eq!(error.key(), Some(failing.as_str()));
        assert_eq!(error.to_string(), format!("{expected}; nothing was changed"));
        sandbox.expect_keys([("storetest/a", "1"), ("storetest/b", "2")]).await?;
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn a_transaction_has_one_revision_and_returns_the_records_that_it_found(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(key);
    let created = store.create_many([(a.clone(), "1"), (b.clone(), "2"), (c.clone(), "3")]).await?;
    let transaction = Transaction::new()
        .read(&a, Condition::RevisionEqual(created))
        .write(&b, "two", Condition::RevisionLessOrEqual(created))
        .delete(&c, Condition::Required)
        .write(&d, "4", Condition::Create);
    let committed = store.commit(transaction).await?;
    assert!(committed.revision > created);
    let found: Vec<_> = committed.found.iter().map(|(key, record)| (key, record.value.as_slice())).collect();
    assert_eq!(found, [(&a, &b"1"[..]), (&b, b"2"), (&c, b"3")]);
    let d = store.read(&d).await?.value.unwrap();
    assert_eq!((d.revision, d.created), (committed.revision, committed.revision));
    sandbox.expect_keys([("storetest/a", "1"), ("storetest/b", "two"), ("storetest/d", "4")]).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn reads_and_deletes_are_optional_or_required(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (present, absent) = (keys("present", 3), keys("absent", 2));
    let step = |delete: bool, keys: &[Key], condition: Condition| {
        keys.iter().fold(Transaction::new(), |txn, key| match delete {
            true => txn.delete(key, condition),
            false => txn.read(key, condition),
        })
    };
    for delete in [false, true] {
        fill(&store, &present).await;
        // Partly present, required: refused, and what is there stays.
        let partly = [&present[..], &absent].concat();
        let failed = failure(&store, step(delete, &partly, Condition::Required)).await;
        assert_eq!((failed.kind(), failed.key()), (&ErrorKind::NotFound, Some(absent[0].as_str())));
        assert_eq!(store.read_many(present.clone()).await?.value.len(), 3);
        // Partly present, optional: what is there.
        let committed = store.commit(step(delete, &partly, Condition::None)).await?;
        assert!(committed.found.keys().eq(&present));
        assert_eq!(store.read_many(present.clone()).await?.value.len(), if delete { 0 } else { 3 });
        // Absent altogether.
        assert!(store.commit(step(delete, &absent, Condition::None)).await?.found.is_empty());
        failure(&store, step(delete, &absent, Condition::Required)).await;
        store.delete_many(present.clone()).await?;
        // All present, required.
        fill(&store, &present).await;
        assert!(store.commit(step(delete, &present, Condition::Required)).await?.found.keys().eq(&present));
        store.delete_many(present.clone()).await?;
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn sets_are_written_as_their_conditions_say(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let set = keys("set", 5);
    let write = |value: &'static str, condition: Condition| {
        set.iter().fold(Transaction::new(), |txn, key| txn.write(key, value, condition))
    };
    failure(&store, write("0", Condition::Required)).await;
    store.create(&set[2], "partly").await?;
    let failed = failure(&store, write("0", Condition::Create)).await;
    assert_eq!(failed.key(), Some(set[2].as_str()));
    let committed = store.commit(write("1", Condition::None)).await?;
    assert_eq!(committed.found.len(), 1, "only one was there");
    let again = store.commit(write("2", Condition::RevisionEqual(committed.revision))).await?;
    assert_eq!(again.found.len(), 5);
    failure(&store, write("3", Condition::RevisionEqual(committed.revision))).await;
    let read = store.read_many(set.clone()).await?;
    assert_eq!(read.value.len(), set.len());
    assert!(read.value.values().all(|record| record.value == b"2" && record.revision == again.revision));
    Ok(())
}

#[etcd_sandbox::test]
async fn an_invalid_transaction_is_refused_before_it_is_sent(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let all = keys("k", 129);
    let many = all.iter().fold(Transaction::new(), |txn, key| txn.write(key, "", Condition::None));
    let error = store.commit(many).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooManyKeys { given: 129, most: 128 });
    let twice = Transaction::new().read(&all[0], Condition::None).delete(&all[0], Condition::None);
    let error = store.commit(twice).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read `storetest/k/0000` in a transaction of 2 keys: the key is given twice, and a transaction does only \
         one thing with a key"
    );
    // An empty transaction is valid.
    assert!(store.commit(Transaction::new()).await?.revision >= store.connected_at());
    sandbox.expect_keys([("", ""); 0]).await?;
    Ok(())
}
