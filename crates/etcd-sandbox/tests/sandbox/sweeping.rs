//! Sweeps that are watched, interrupted, stopped, and done by two at once.

use etcd_sandbox::etcd_keys::KeyRange;
use etcd_sandbox::etcd_keys::watch::{EventKind, Notice};
use etcd_sandbox::runs::{Entry, Liveness, Registry, State, Swept};
use testkit::Proxy;

use crate::fixture::{Canaries, Server, TEST_ROOT, count, entry, eventually, fill, rounds, silent};

/// Keys that are deleted in six chunks at least.
const SEVERAL_CHUNKS: usize = 3_000;

/// A run whose owner is dead.
async fn dead(server: &Server, registry: &Registry, keys: usize) -> Entry {
    let run = server.run(registry, |plan| plan, keys).await;
    let id = run.id().clone();
    drop(run);
    silent(registry, &id).await
}

async fn sweep(registry: &Registry, run: &Entry) -> Swept {
    match registry.liveness(run) {
        Liveness::Dead(proof) => registry.sweep(run, proof).await.unwrap(),
        standing => panic!("{standing:?}"),
    }
}

/// Lets requests of a sweep pass one by one until it has deleted some of [`SEVERAL_CHUNKS`] keys. The next one waits.
async fn until_the_middle(proxy: &Proxy, registry: &Registry, prefix: &str) {
    eventually("the sweep deletes", async || {
        if proxy.has_held() {
            proxy.pass_one();
        }
        count(registry, prefix).await < SEVERAL_CHUNKS as i64
    })
    .await;
}

#[tokio::test]
async fn the_record_goes_last_and_nothing_outside_goes() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 1_000).await;
    let run = dead(&server, &registry, 3_000).await;
    let beside = server.run(&registry, |plan| plan, 10).await;
    let prefix = format!("{TEST_ROOT}{}/", run.id);
    let mut watch =
        registry.connection().all_keys().watch(KeyRange::prefix(prefix.as_str())).from_revision(run.revision);
    assert_eq!(sweep(&registry, &run).await, Swept::Gone(3_000));
    let (mut gone, mut record, mut last) = (0, 0, 0);
    while gone < 3_001 {
        if let Notice::Event(event) = watch.recv().await.unwrap()
            && event.kind == EventKind::Delete
            && !event.kv.key.ends_with(b".alive")
        {
            gone += 1;
            last = event.kv.mod_revision;
            record = if event.kv.key.ends_with(b"/.run") { event.kv.mod_revision } else { record };
        }
    }
    assert_eq!(record, last, "nothing is deleted after the record");
    assert_eq!(count(&registry, &prefix).await, 0);
    assert_eq!(entry(&registry, beside.id()).await.keys, 10);
    canaries.check(&registry).await;
}

#[tokio::test]
async fn of_two_sweepers_one_wins_and_both_end_well() {
    let server = Server::start();
    let (first, second) = (server.registry().await, server.registry().await);
    for _ in 0..rounds(10) {
        let run = server.run(&first, |plan| plan, 700).await;
        let run = entry(&first, run.id()).await;
        let (one, other) = tokio::join!(first.sweep_by_force(&run), second.sweep_by_force(&run));
        let (one, other) = (one.unwrap(), other.unwrap());
        let won = [one, other].into_iter().filter(|swept| *swept == Swept::Gone(700)).count();
        let lost = [one, other].into_iter().filter(|swept| *swept == Swept::NotOurs(0)).count();
        assert_eq!((won, lost), (1, 1), "{one:?} {other:?}");
        assert_eq!(count(&first, TEST_ROOT).await, 0);
    }
}

/// All that clean at the same time, when hundreds of processes begin.
#[tokio::test]
async fn many_cleaners_at_once_leave_nothing_and_fail_nowhere() {
    let server = Server::start();
    let registry = server.registry().await;
    let alive = server.run(&registry, |plan| plan, 20).await;
    for _ in 0..rounds(2) {
        for _ in 0..5 {
            drop(server.run(&registry, |plan| plan, 600).await);
        }
        for run in registry.list().await.unwrap().runs.iter().filter(|run| run.id != *alive.id()) {
            silent(&registry, &run.id).await;
        }
        let mut cleaners = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (registry, dir) = (server.registry().await, server.lock_dir());
            cleaners.spawn(async move { registry.sweep_dead(&dir).await.unwrap() });
        }
        cleaners.join_all().await;
        let left = registry.list().await.unwrap();
        let ids: Vec<_> = left.runs.iter().map(|run| &run.id).collect();
        assert_eq!((ids, left.unregistered.len()), (vec![alive.id()], 0), "{left:?}");
    }
    assert_eq!(alive.sweep().await.unwrap().keys, 20);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

#[tokio::test]
async fn a_run_that_comes_to_life_stops_its_sweep() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = dead(&server, &registry, SEVERAL_CHUNKS).await;
    let prefix = format!("{TEST_ROOT}{}/", run.id);
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let sweeper = Server::registry_at(proxy.endpoint()).await;
    proxy.hold();
    let sweeping = {
        let run = run.clone();
        tokio::spawn(async move { sweep(&sweeper, &run).await })
    };
    until_the_middle(&proxy, &registry, &prefix).await;
    registry.connection().all_keys().put(format!("{prefix}.alive"), "").await.unwrap();
    proxy.release();
    let swept = sweeping.await.unwrap();
    let left = entry(&registry, &run.id).await;
    match swept {
        // Of a chunk that was stopped in the middle, what went is not counted.
        Swept::NotOurs(gone) => {
            assert!(left.keys > 0 && gone + left.keys <= SEVERAL_CHUNKS as u64, "{gone} + {}", left.keys)
        }
        other => panic!("{other:?}: it was too quick to be stopped"),
    }
    assert!(matches!(registry.liveness(&left), Liveness::Alive(_)));
}

#[tokio::test]
async fn an_interrupted_sweep_is_finished_by_the_next() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = dead(&server, &registry, SEVERAL_CHUNKS).await;
    let prefix = format!("{TEST_ROOT}{}/", run.id);
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let sweeper = Server::registry_at(proxy.endpoint()).await;
    proxy.hold();
    let sweeping = {
        let run = run.clone();
        tokio::spawn(async move { sweep(&sweeper, &run).await })
    };
    until_the_middle(&proxy, &registry, &prefix).await;
    sweeping.abort();
    assert!(sweeping.await.unwrap_err().is_cancelled());
    proxy.release();
    let left = entry(&registry, &run.id).await;
    assert!(left.found.record().is_some_and(|record| record.state == State::Sweeping) && left.keys > 0, "{left:?}");
    // The last transaction of the first sweep may have been on its way.
    let swept = sweep(&registry, &left).await;
    assert!(matches!(swept, Swept::Gone(gone) if gone > 0 && gone <= left.keys), "{swept:?}, {left:?}");
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

/// What writes faster than it can be deleted does not make a sweep endless.
#[tokio::test]
async fn a_sweep_ends_though_somebody_goes_on_writing() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = dead(&server, &registry, 2_000).await;
    let prefix = format!("{TEST_ROOT}{}/", run.id);
    let writing = {
        let keys = server.registry().await.connection().all_keys();
        let prefix = format!("{prefix}t~1/");
        tokio::spawn(async move {
            loop {
                fill(&keys, &prefix, 2_000).await;
            }
        })
    };
    let swept = tokio::time::timeout(testkit::TIMEOUT, sweep(&registry, &run)).await.unwrap();
    assert!(matches!(swept, Swept::Gone(_)), "{swept:?}");
    writing.abort();
    drop(writing.await);
    // Without a record it belongs to nobody, and is found all the same.
    let left = registry.list().await.unwrap();
    assert!(left.runs.is_empty());
    for found in left.unregistered {
        registry.delete_unregistered(&found).await.unwrap();
    }
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

/// Another takes our run over while we sweep it: we go on after it, and are not told that we lost it.
#[tokio::test]
async fn an_owner_sweeps_though_another_claims_its_run_in_the_middle() {
    let server = Server::start();
    let registry = server.registry().await;
    let proxy = Proxy::start(&server.endpoint()).unwrap();
    let run = server.run(&Server::registry_at(proxy.endpoint()).await, |plan| plan, SEVERAL_CHUNKS).await;
    let (id, prefix, lock) = (run.id().clone(), run.prefix(), run.lock().to_owned());
    proxy.hold();
    let sweeping = tokio::spawn(run.sweep());
    until_the_middle(&proxy, &registry, &prefix).await;
    let record = format!("{prefix}.run");
    let keys = registry.connection().all_keys();
    let ours = keys.get(record.as_str()).await.unwrap().expect("it was too quick to be taken over");
    keys.put(record, ours.value).await.unwrap();
    proxy.release();
    let ended = sweeping.await.unwrap().unwrap();
    assert!(!ended.lost && !ended.stragglers && ended.keys <= SEVERAL_CHUNKS as u64, "{ended:?}");
    assert!(registry.entry(&id).await.unwrap().is_none());
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    assert!(!lock.exists());
}

/// Our own sweep while other cleaners come by: we are not told that we lost our run.
#[tokio::test]
async fn an_owner_sweeps_though_others_clean_at_the_same_time() {
    let server = Server::start();
    let registry = server.registry().await;
    let cleaning = {
        let (registry, dir) = (server.registry().await, server.lock_dir());
        tokio::spawn(async move {
            loop {
                registry.sweep_dead(&dir).await.unwrap();
            }
        })
    };
    for round in 0..rounds(20) {
        let run = server.run(&registry, |plan| plan, if round % 2 == 0 { 100 } else { 1_200 }).await;
        // A process that ends a little later: the one who looks more often is the first to have the lock alone.
        let last = std::fs::File::open(run.lock()).unwrap();
        last.lock_shared().unwrap();
        let id = run.id().clone();
        let sweeping = tokio::spawn(run.sweep());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(last);
        let ended = sweeping.await.unwrap().unwrap();
        assert!(!ended.lost && !ended.stragglers, "{ended:?}");
        assert!(registry.entry(&id).await.unwrap().is_none());
    }
    assert!(!cleaning.is_finished());
    cleaning.abort();
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}
