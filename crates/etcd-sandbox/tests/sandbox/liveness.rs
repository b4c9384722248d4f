//! When a run is dead for certain: each rule alone.

use std::time::Duration;

use etcd_sandbox::runs::{AliveProof, Liveness, Plan};
use tokio::time::Instant;

use crate::fixture::{Server, count, entry, silent};

/// The time to live of the runs here.
const TTL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn with_a_heartbeat_nobody_is_dead() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let (id, prefix) = (run.id().clone(), run.prefix());
    assert!(matches!(registry.liveness(&entry(&registry, &id).await), Liveness::Alive(AliveProof::Keeper)));
    drop(run);
    let dead = silent(&registry, &id).await;
    let Liveness::Dead(proof) = registry.liveness(&dead) else { panic!("{dead:?}") };
    // The run comes back to life after the proof.
    registry.connection().all_keys().put(format!("{prefix}.alive"), "").await.unwrap();
    assert_eq!(registry.sweep(&dead, proof).await.unwrap(), etcd_sandbox::runs::Swept::NotOurs(0));
    assert_eq!(entry(&registry, &id).await.keys, 10);
}

#[tokio::test]
async fn here_the_lock_decides_at_once() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let id = run.id().clone();
    // The keeper is gone, and a runner holds the lock.
    let lock = std::fs::File::open(run.lock()).unwrap();
    lock.lock_shared().unwrap();
    drop(run);
    let dead = silent(&registry, &id).await;
    assert!(matches!(registry.liveness(&dead), Liveness::Alive(AliveProof::Lock)));
    drop(lock);
    let Liveness::Dead(proof) = registry.liveness(&dead) else { panic!("{dead:?}") };
    // While the proof is held, nobody joins the run, and nobody else gets a proof.
    assert!(matches!(registry.liveness(&dead), Liveness::Alive(AliveProof::Lock)));
    let adopted = etcd_sandbox::runs::Run::adopt(&registry, id.clone()).await.unwrap();
    assert!(adopted.is_none());
    registry.sweep(&dead, proof).await.unwrap();
    assert!(registry.entry(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn without_its_lock_file_a_run_is_watched_not_taken_for_dead() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let (id, lock) = (run.id().clone(), run.lock().to_owned());
    drop(run);
    // `git clean`, or the file system of another container.
    std::fs::remove_file(lock).unwrap();
    let dead = silent(&registry, &id).await;
    assert!(matches!(registry.liveness(&dead), Liveness::Unproven(time) if time == TTL * 10));
}

#[tokio::test]
async fn elsewhere_silence_for_ten_times_to_live_decides() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, Plan::elsewhere, 10).await;
    let (id, prefix) = (run.id().clone(), run.prefix());
    drop(run);
    let dead = silent(&registry, &id).await;
    assert!(matches!(registry.liveness(&dead), Liveness::Unproven(_)), "its lock here proves nothing");
    let began = Instant::now();
    let proof = registry.prove_dead(&dead).await.unwrap().unwrap();
    assert!(began.elapsed() >= TTL * 9, "{:?}", began.elapsed());
    registry.sweep(&dead, proof).await.unwrap();
    assert_eq!(count(&registry, &prefix).await, 0);
}

#[tokio::test]
async fn a_heartbeat_or_a_new_keeper_ends_the_watching() {
    let server = Server::start();
    let registry = server.registry().await;
    for adopted in [false, true] {
        let run = server.run(&registry, Plan::elsewhere, 10).await;
        let (id, prefix) = (run.id().clone(), run.prefix());
        let lock = std::fs::File::open(run.lock()).unwrap();
        lock.lock_shared().unwrap();
        drop(run);
        let dead = silent(&registry, &id).await;
        let watching = {
            let registry = registry.clone();
            tokio::spawn(async move { registry.prove_dead(&dead).await.unwrap().is_some() })
        };
        tokio::time::sleep(TTL).await;
        let run = if adopted {
            Some(etcd_sandbox::runs::Run::adopt(&registry, id.clone()).await.unwrap().unwrap())
        } else {
            registry.connection().all_keys().put(format!("{prefix}.alive"), "").await.unwrap();
            None
        };
        assert!(!watching.await.unwrap(), "adopted: {adopted}");
        assert_eq!(entry(&registry, &id).await.keys, 10);
        drop(run);
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_proves_nothing() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, Plan::elsewhere, 10).await;
    let (id, prefix) = (run.id().clone(), run.prefix());
    drop(run);
    let dead = silent(&registry, &id).await;
    let watching = {
        let registry = registry.clone();
        tokio::spawn(async move { registry.prove_dead(&dead).await.unwrap().is_some() })
    };
    // The server is stopped for longer than the heartbeat must be missing. That time does not count.
    tokio::time::sleep(TTL * 2).await;
    server.signal("-STOP");
    tokio::time::sleep(TTL * 11).await;
    server.signal("-CONT");
    tokio::time::sleep(TTL).await;
    assert!(!watching.is_finished());
    registry.connection().all_keys().put(format!("{prefix}.alive"), "").await.unwrap();
    assert!(!watching.await.unwrap());
    assert_eq!(entry(&registry, &id).await.keys, 10);
}

#[tokio::test]
async fn a_run_that_was_kept_needs_no_proof() {
    let server = Server::start();
    let registry = server.registry().await;
    for plan in [|plan: Plan| plan, Plan::elsewhere] {
        let run = server.run(&registry, plan, 10).await;
        let id = run.id().clone();
        assert!(!run.keep().await.unwrap().lost);
        assert_eq!(registry.sweep_dead(&server.lock_dir()).await.unwrap(), 0, "it is kept on purpose");
        let kept = entry(&registry, &id).await;
        let Liveness::Dead(proof) = registry.liveness(&kept) else { panic!("{kept:?}") };
        assert_eq!(registry.sweep(&kept, proof).await.unwrap(), etcd_sandbox::runs::Swept::Gone(10));
    }
}

#[tokio::test]
async fn a_keeper_that_was_killed_is_replaced() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let (id, path) = (run.id().clone(), run.lock().to_owned());
    let runner = std::fs::File::open(&path).unwrap();
    runner.lock_shared().unwrap();
    drop(run);
    silent(&registry, &id).await;
    let run = etcd_sandbox::runs::Run::adopt(&registry, id.clone()).await.unwrap().unwrap();
    assert!(entry(&registry, &id).await.alive && run.id() == &id);
    // Two keepers: the first one is told that it is not the keeper any more.
    let third = etcd_sandbox::runs::Run::adopt(&registry, id.clone()).await.unwrap().unwrap();
    tokio::time::timeout(testkit::TIMEOUT, run.lost()).await.unwrap();
    drop(run);
    drop(runner);
    assert_eq!(third.sweep().await.unwrap().keys, 10);
    assert!(etcd_sandbox::runs::Run::adopt(&registry, id).await.unwrap().is_none());
}
