//! The store beside a map in memory: after the same operations, both give the same results.

use std::collections::BTreeMap;

use cloudchamber_store::{Condition, Error, ErrorKind, Expect, Key, Record, Store, Transaction};
use etcd_sandbox::Sandbox;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fixture::{Outcome, key, open, prefix};

/// Few keys, so that operations meet; one is the prefix of another.
const KEYS: [&str; 5] = ["m/a", "m/b", "m/b/c", "m/bc", "n/a"];
const PREFIXES: [&str; 3] = ["m", "m/b", "n"];

/// Which revision an operation names: the key's own, or one beside it.
#[derive(Clone, Copy, Debug)]
struct Guess(i64);

#[derive(Clone, Debug)]
enum Operation {
    Create(Vec<(usize, u8)>),
    Read(Vec<usize>),
    Update(usize, u8, Option<Guess>),
    Delete(usize, Option<Guess>),
    DeleteMany(Vec<usize>),
    List(usize),
    DeletePrefix(usize),
    Commit(Vec<Step>),
}

/// A key, what is done with it (0 reads, 1 deletes, else that is written), a condition by number, and a revision.
type Step = (usize, u8, u8, Guess);

fn operation() -> impl Strategy<Value = Operation> {
    let key = || 0..KEYS.len();
    let some = || proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 1..4);
    let guess = || prop_oneof![4 => Just(Guess(0)), 1 => Just(Guess(-1)), 1 => Just(Guess(1))];
    prop_oneof![
        some().prop_flat_map(|keys| {
            let values = proptest::collection::vec(any::<u8>(), keys.len());
            values.prop_map(move |values| Operation::Create(keys.iter().copied().zip(values).collect()))
        }),
        some().prop_map(Operation::Read),
        (key(), any::<u8>(), proptest::option::of(guess())).prop_map(|(k, v, g)| Operation::Update(k, v, g)),
        (key(), proptest::option::of(guess())).prop_map(|(k, g)| Operation::Delete(k, g)),
        some().prop_map(Operation::DeleteMany),
        (0..PREFIXES.len()).prop_map(Operation::List),
        (0..PREFIXES.len()).prop_map(Operation::DeletePrefix),
        some().prop_flat_map(move |keys| {
            let steps = proptest::collection::vec((any::<u8>(), 0..9_u8, guess()), keys.len());
            steps.prop_map(move |steps| {
                let step =
                    |(key, (action, condition, guess)): (&usize, (u8, u8, Guess))| (*key, action % 4, condition, guess);
                Operation::Commit(keys.iter().zip(steps).map(step).collect())
            })
        }),
    ]
}

/// The records that the store should have.
#[derive(Default)]
struct Model {
    records: BTreeMap<Key, Record>,
    /// The newest revision that the store returned.
    revision: i64,
}

impl Model {
    fn found(&self, key: &Key) -> Option<i64> {
        self.records.get(key).map(|record| record.revision)
    }

    /// The revision of a guess; near 0 for an absent key.
    fn revision(&self, key: &Key, guess: Guess) -> i64 {
        self.found(key).unwrap_or(0) + guess.0
    }

    fn expect(&self, key: &Key, guess: Option<Guess>) -> Expect {
        guess.map_or(Expect::Any, |guess| Expect::Revision(self.revision(key, guess)))
    }

    /// Records a write at this revision.
    fn wrote(&mut self, key: &Key, value: &[u8], revision: i64) {
        let created = self.records.get(key).map_or(revision, |record| record.created);
        self.records.insert(key.clone(), Record { key: key.clone(), value: value.to_vec(), created, revision });
    }

    fn at(&mut self, revision: i64, changed: bool) {
        assert!(
            if changed { revision > self.revision } else { revision >= self.revision },
            "{revision} after {}",
            self.revision
        );
        self.revision = revision;
    }

    fn below(&self, prefix: &cloudchamber_store::Prefix) -> Vec<Record> {
        self.records.values().filter(|record| prefix.contains(&record.key)).cloned().collect()
    }
}

fn condition(number: u8, revision: i64) -> Condition {
    match number {
        0 => Condition::None,
        1 => Condition::Create,
        2 => Condition::Required,
        3 => Condition::RevisionEqual(revision),
        4 => Condition::RevisionNotEqual(revision),
        5 => Condition::RevisionLess(revision),
        6 => Condition::RevisionLessOrEqual(revision),
        7 => Condition::RevisionGreater(revision),
        _ => Condition::RevisionGreaterOrEqual(revision),
    }
}

/// Checks the error for a condition that does not hold: the key, its condition, and the revision that it has.
fn check(error: &Error, (key, condition, found): (&Key, Condition, Option<i64>)) {
    let expected = match (condition, found) {
        (_, None) => ErrorKind::NotFound,
        (Condition::Create, Some(revision)) => ErrorKind::AlreadyExists { revision },
        (condition, Some(found)) => ErrorKind::Conflict { condition, found },
    };
    assert!(!condition.holds(found), "{error}");
    assert_eq!((error.kind(), error.key()), (&expected, Some(key.as_str())));
}

async fn run(store: &Store, model: &mut Model, operation: &Operation) {
    let named = |number: &usize| key(KEYS[*number]);
    match operation {
        Operation::Create(records) => {
            let records: Vec<(Key, Vec<u8>)> = records.iter().map(|(key, value)| (named(key), vec![*value])).collect();
            let exists = records.iter().find(|(key, _)| model.found(key).is_some());
            match (store.create_many(records.clone()).await, exists) {
                (Ok(revision), None) => {
                    model.at(revision, true);
                    records.iter().for_each(|(key, value)| model.wrote(key, value, revision));
                }
                (Err(error), Some((key, _))) => check(&error, (key, Condition::Create, model.found(key))),
                other => panic!("{other:?}"),
            }
        }
        Operation::Read(keys) => {
            let keys: Vec<Key> = keys.iter().map(named).collect();
            let read = store.read_many(keys.clone()).await.unwrap();
            let expected = keys.iter().filter_map(|key| Some((key.clone(), model.records.get(key)?.clone()))).collect();
            assert_eq!(read.value, expected);
            model.at(read.revision, false);
            let one = store.read(&keys[0]).await.unwrap();
            assert_eq!(one.value.as_ref(), model.records.get(&keys[0]));
            model.at(one.revision, false);
        }
        Operation::Update(number, value, guess) => {
            let key = named(number);
            let expect = model.expect(&key, *guess);
            match (store.update(&key, [*value], expect).await, model.found(&key), expect) {
                (Ok(revision), Some(found), expect) if expect == Expect::Any || expect == Expect::Revision(found) => {
                    model.at(revision, true);
                    model.wrote(&key, &[*value], revision);
                }
                (Err(error), found, Expect::Any) => check(&error, (&key, Condition::Required, found)),
                (Err(error), found, Expect::Revision(guess)) => {
                    check(&error, (&key, Condition::RevisionEqual(guess), found));
                }
                other => panic!("{other:?}"),
            }
        }
        Operation::Delete(number, guess) => {
            let key = named(number);
            let expect = model.expect(&key, *guess);
            match (store.delete(&key, expect).await, model.found(&key), expect) {
                (Ok(deleted), found, expect)
                    if expect == Expect::Any || Some(expect) == found.map(Expect::Revision) =>
                {
                    assert_eq!(deleted.value, model.records.remove(&key).is_some());
                    model.at(deleted.revision, deleted.value);
                }
                (Err(error), found, Expect::Revision(guess)) => {
                    check(&error, (&key, Condition::RevisionEqual(guess), found));
                }
                other => panic!("{other:?}"),
            }
        }
        Operation::DeleteMany(keys) => {
            let deleted = store.delete_many(keys.iter().map(named)).await.unwrap();
            let expected = keys.iter().filter(|key| model.records.remove(&named(key)).is_some()).count();
            assert_eq!(deleted.value, expected as u64);
            model.at(deleted.revision, expected > 0);
        }
        Operation::List(number) => {
            let prefix = prefix(PREFIXES[*number]);
            let list = store.list(&prefix).await.unwrap();
            assert_eq!(list.value, model.below(&prefix));
            model.at(list.revision, false);
        }
        Operation::DeletePrefix(number) => {
            let prefix = prefix(PREFIXES[*number]);
            let deleted = store.delete_prefix(&prefix).await.unwrap();
            let expected = model.below(&prefix);
            assert_eq!((deleted.value.deleted, deleted.value.kept), (expected.len() as u64, 0));
            expected.iter().for_each(|record| drop(model.records.remove(&record.key)));
            model.at(deleted.revision, !expected.is_empty());
        }
        Operation::Commit(steps) => commit(store, model, steps).await,
    }
}

async fn commit(store: &Store, model: &mut Model, steps: &[Step]) {
    let mut transaction = Transaction::new();
    let mut failing = None;
    for (number, action, number_of_condition, guess) in steps {
        let key = key(KEYS[*number]);
        let condition = condition(*number_of_condition, model.revision(&key, *guess));
        let found = model.found(&key);
        if failing.is_none() && !condition.holds(found) {
            failing = Some((key.clone(), condition, found));
        }
        transaction = match action {
            0 => transaction.read(&key, condition),
            1 => transaction.delete(&key, condition),
            value => transaction.write(&key, [*value], condition),
        };
    }
    match (store.commit(transaction).await, failing) {
        (Ok(committed), None) => {
            let keys = steps.iter().map(|(number, ..)| key(KEYS[*number]));
            let found: BTreeMap<_, _> =
                keys.filter_map(|key| Some((key.clone(), model.records.get(&key)?.clone()))).collect();
            assert_eq!(committed.found, found);
            let mut changed = false;
            for (number, action, ..) in steps {
                let key = key(KEYS[*number]);
                match action {
                    0 => {}
                    1 => changed |= model.records.remove(&key).is_some(),
                    value => {
                        changed = true;
                        model.wrote(&key, &[*value], committed.revision);
                    }
                }
            }
            model.at(committed.revision, changed);
        }
        (Err(error), Some((key, condition, found))) => check(&error, (&key, condition, found)),
        other => panic!("{other:?}"),
    }
}

#[etcd_sandbox::test]
fn the_store_behaves_like_a_map(sandbox: Sandbox) -> Outcome {
    let store = sandbox.block_on(open(&sandbox));
    // Quick by default; `PROPTEST_CASES=3000` looks longer.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(25);
    let mut runner = TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    runner.run(&proptest::collection::vec(operation(), 1..30), |operations| {
        sandbox.block_on(async {
            let mut model = Model::default();
            for all in ["m", "n"] {
                model.revision = store.delete_prefix(&prefix(all)).await.unwrap().revision;
            }
            for operation in &operations {
                run(&store, &mut model, operation).await;
            }
        });
        Ok(())
    })?;
    Ok(())
}
