//! Several at once: at one revision exactly one wins, and no update is lost.

use cloudchamber_store::{Condition, ErrorKind, Expect, Store};
use etcd_sandbox::Sandbox;
use tokio::task::JoinSet;

use crate::fixture::{Outcome, key, keys, open};

const ROUNDS: usize = 1_000;
/// Records that are fought over at the same time.
const LANES: usize = 10;

#[etcd_sandbox::test]
async fn of_two_writers_at_one_revision_exactly_one_wins(sandbox: Sandbox) -> Outcome {
    // Two connections, so that nothing but etcd puts the two in order.
    let (one, other) = (open(&sandbox).await, open(&sandbox).await);
    let mut lanes = JoinSet::new();
    for key in keys("lane", LANES) {
        let (one, other) = (one.clone(), other.clone());
        lanes.spawn(async move {
            let mut revision = one.create(&key, "start").await.unwrap();
            let mut winner = "start";
            for _ in 0..ROUNDS / LANES {
                let expect = Expect::Revision(revision);
                let (a, b) = tokio::join!(one.update(&key, "one", expect), other.update(&key, "other", expect));
                let (won, lost, value) = match (a, b) {
                    (Ok(won), Err(lost)) => (won, lost, "one"),
                    (Err(lost), Ok(won)) => (won, lost, "other"),
                    both => panic!("{both:?}"),
                };
                let condition = Condition::RevisionEqual(revision);
                assert_eq!(lost.kind(), &ErrorKind::Conflict { condition, found: won });
                (revision, winner) = (won, value);
            }
            let record = other.read(&key).await.unwrap().value.unwrap();
            assert_eq!((record.revision, record.value.as_slice()), (revision, winner.as_bytes()));
        });
    }
    lanes.join_all().await;
    Ok(())
}

async fn add_one(store: &Store) {
    let key = key("counter");
    loop {
        let record = store.read(&key).await.unwrap().value.unwrap().decode::<u64>().unwrap();
        let next = (record.value + 1).to_string();
        match store.update(&key, next, Expect::Revision(record.revision)).await {
            Ok(_) => return,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[etcd_sandbox::test]
async fn no_increment_is_lost(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    store.create(&key("counter"), "0").await?;
    let mut adding = JoinSet::new();
    for _ in 0..5 {
        let store = store.clone();
        adding.spawn(async move {
            for _ in 0..10 {
                add_one(&store).await;
            }
        });
    }
    adding.join_all().await;
    assert_eq!(store.read(&key("counter")).await?.value.unwrap().value, b"50");
    Ok(())
}

#[etcd_sandbox::test]
async fn of_many_creators_exactly_one_wins(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let mut creating = JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        creating
            .spawn(async move { store.create_many([(key("a"), number.to_string()), (key("b"), "x".into())]).await });
    }
    let outcomes = creating.join_all().await;
    let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    for lost in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(lost.kind(), &ErrorKind::AlreadyExists { revision: *won[0] });
    }
    Ok(())
}
