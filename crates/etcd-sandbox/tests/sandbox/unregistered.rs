//! Keys below the test root that belong to no run: found, counted, removed; and what listing costs.

use etcd_sandbox::etcd_keys::KeyRange;
use etcd_sandbox::etcd_keys::kv::{Put, Txn};
use etcd_sandbox::runs::RunId;

use crate::fixture::{Canaries, Server, TEST_ROOT, count, fill};

/// As Cloud Chamber's Go tests write them.
const STANDARD: &str = "/Inventory/v1/Test/Standard/";
const DATED: &str = "/Inventory/v1/Test/2021-07-09T15:36:29.123456789-07:00/";

#[tokio::test]
async fn other_harnesses_keys_are_found_by_segments_and_removed() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 1_000).await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let keys = registry.connection().all_keys();
    fill(&keys, STANDARD, 2_500).await;
    fill(&keys, DATED, 3).await;
    // Names like those of runs, and keys that are in no segment.
    for key in ["Standard/.run", "lonely", "lonely.run", "", "/twice", ".runs/x", "\u{1}/y"] {
        keys.put(format!("{TEST_ROOT}{key}"), "x").await.unwrap();
    }
    let listing = registry.list().await.unwrap();
    let found: Vec<_> = listing.unregistered.iter().map(|found| (found.range.clone(), found.keys)).collect();
    let prefix = |segment: &str| KeyRange::prefix(format!("{TEST_ROOT}{segment}"));
    let key = |key: &str| KeyRange::key(format!("{TEST_ROOT}{key}"));
    let expected = [
        (key(""), 1),
        (prefix("\u{1}/"), 1),
        (prefix("/"), 1),
        (KeyRange::prefix(DATED), 3),
        (KeyRange::prefix(STANDARD), 2_501),
        (key("lonely"), 1),
        (key("lonely.run"), 1),
        (key(".runs/x"), 1),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for one in &expected {
        assert!(found.contains(one), "{one:?} is not among {found:?}");
    }
    for found in &listing.unregistered {
        assert_eq!(registry.delete_unregistered(found).await.unwrap(), found.keys, "{found:?}");
    }
    assert_eq!(registry.list().await.unwrap().unregistered, []);
    assert_eq!(run.sweep().await.unwrap().keys, 10);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    canaries.check(&registry).await;
}

#[tokio::test]
async fn a_run_is_found_though_the_index_lost_it_and_a_line_though_its_run_is_gone() {
    let server = Server::start();
    let registry = server.registry().await;
    let keys = registry.connection().all_keys();
    let run = server.run(&registry, |plan| plan, 10).await;
    keys.delete(format!("{TEST_ROOT}.runs/{}", run.id())).await.unwrap();
    let (gone, wiped) = (RunId::fresh().unwrap(), RunId::fresh().unwrap());
    keys.put(format!("{TEST_ROOT}.runs/{gone}"), "").await.unwrap();
    keys.put(format!("{TEST_ROOT}.runs/{wiped}"), "").await.unwrap();
    fill(&keys, &format!("{TEST_ROOT}{wiped}/t~1/"), 3).await;
    let listing = registry.list().await.unwrap();
    assert_eq!(listing.runs.iter().map(|run| run.keys).collect::<Vec<_>>(), [10]);
    assert_eq!(listing.unregistered.iter().map(|found| found.keys).sum::<u64>(), 5, "{listing:?}");
    for found in &listing.unregistered {
        registry.delete_unregistered(found).await.unwrap();
    }
    run.sweep().await.unwrap();
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

/// Keys of no run become a run's if that run is registered before they are deleted.
#[tokio::test]
async fn keys_that_become_a_runs_are_not_deleted() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let keys = registry.connection().all_keys();
    let record = keys.get(format!("{}.run", run.prefix())).await.unwrap().unwrap();
    keys.delete(record.key.as_slice()).await.unwrap();
    let listing = registry.list().await.unwrap();
    keys.put(record.key.as_slice(), record.value).await.unwrap();
    for found in &listing.unregistered {
        assert_eq!(registry.delete_unregistered(found).await.unwrap(), 0, "{found:?}");
    }
    assert_eq!(listing.unregistered.len(), 2, "{listing:?}");
    assert_eq!(crate::fixture::entry(&registry, run.id()).await.keys, 10);
}

/// A segment of more keys than are read at a time, many small ones, and runs between them.
#[tokio::test]
async fn segments_of_any_size_are_counted() {
    let server = Server::start();
    let registry = server.registry().await;
    let keys = registry.connection().all_keys();
    fill(&keys, &format!("{TEST_ROOT}big/"), 9_000).await;
    for hundred in 0..12 {
        let put = |n| Put::new(format!("{TEST_ROOT}small{hundred:02}{n:02}/x"), "");
        keys.send((0..100).map(put).fold(Txn::new(), Txn::then)).await.unwrap();
    }
    let run = server.run(&registry, |plan| plan, 10).await;
    let listing = registry.list().await.unwrap();
    assert_eq!((listing.runs.len(), listing.unregistered.len()), (1, 1_201));
    let counts: Vec<u64> = listing.unregistered.iter().map(|found| found.keys).collect();
    assert_eq!((counts[0], counts[1..].iter().sum::<u64>()), (9_000, 1_200));
    drop(run);
}
