//! How runs end: with their process, after a panic, by SIGKILL, and while something that a test started still runs.

use std::path::Path;
use std::process::Child;

use etcd_sandbox::runs::{Entry, Liveness, Registry};

use crate::fixture::{
    Canaries, Server, TEST_ROOT, count, entry, eventually, finish, finished, kill, rounds, silent, workspace,
};

#[tokio::test]
async fn a_run_goes_with_its_process_whatever_its_tests_do() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 1_000).await;
    for (test, passes) in [("panics", false), ("fails", false), ("leaks_a_writer", true), ("", true)] {
        let run = finished(server.scenario(test)).await;
        assert_eq!(run.code == Some(0), passes, "{}", run.out);
        assert_eq!(count(&registry, TEST_ROOT).await, 0, "{test}: {}", run.out);
    }
    canaries.check(&registry).await;
    assert_eq!(std::fs::read_dir(server.lock_dir()).unwrap().count(), 0, "a lock is left");
}

#[tokio::test]
async fn a_failing_test_says_why() {
    let server = Server::start();
    let run = finished(server.scenario("fails")).await;
    run.says(&["the keys under `/Inventory/v1/Test/", "- a = 1", "sandbox.subject.scenario~"]);
}

#[tokio::test]
async fn a_process_that_a_test_leaks_does_not_keep_the_run() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = finished(server.scenario("leaks_a_process")).await;
    run.passed(1);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    assert_eq!(std::fs::read_dir(server.lock_dir()).unwrap().count(), 0);
    let leaked = run.out.lines().find_map(|line| line.split("leaked ").nth(1)).unwrap().trim().to_owned();
    kill("-KILL", leaked.parse().unwrap());
}

/// The only run, once it has keys.
async fn only_run(registry: &Registry, keys: u64) -> Entry {
    eventually("a run with keys", async || {
        registry.list().await.unwrap().runs.first().is_some_and(|run| run.keys >= keys)
    })
    .await;
    registry.list().await.unwrap().runs.remove(0)
}

#[tokio::test]
async fn a_killed_process_is_swept_by_the_next_one() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 1_000).await;
    for _ in 0..rounds(1) {
        let mut child = server.scenario("writes_for_ever").spawn().unwrap();
        let killed = only_run(&registry, 20).await;
        assert!(matches!(registry.liveness(&killed), Liveness::Alive(_)));
        child.kill().unwrap();
        child.wait().unwrap();
        silent(&registry, &killed.id).await;
        // Whatever the next process runs, it sweeps.
        finished(server.scenario("waits_for_a_key")).await.says(&["`a` was not there within 3 s", "it is absent"]);
        assert_eq!(count(&registry, TEST_ROOT).await, 0);
    }
    canaries.check(&registry).await;
}

/// The runner was killed, and its processes live on: the run is not dead, though nobody renews its lease.
#[tokio::test]
async fn a_run_lives_as_long_as_one_of_its_processes() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let id = run.id().clone();
    let mut child = server.scenario("writes_for_ever").envs(run.variables()).spawn().unwrap();
    eventually("it writes", async || entry(&registry, &id).await.keys > 20).await;
    drop(run);
    let orphaned = silent(&registry, &id).await;
    assert!(matches!(registry.liveness(&orphaned), Liveness::Alive(_)));
    assert_eq!(registry.sweep_dead(&server.lock_dir()).await.unwrap(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(registry.sweep_dead(&server.lock_dir()).await.unwrap() > 20);
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
}

/// The runner sweeps while a process still writes: that process ends, and its keys are gone.
#[tokio::test]
async fn processes_end_with_their_run() {
    let server = Server::start();
    let registry = server.registry().await;
    for _ in 0..rounds(3) {
        let run = server.run(&registry, |plan| plan, 10).await;
        let child: Child = server.scenario("writes_for_ever").envs(run.variables()).spawn().unwrap();
        eventually("it writes", async || count(&registry, &run.prefix()).await > 20).await;
        let ended = run.sweep().await.unwrap();
        assert!(!ended.lost && !ended.stragglers && ended.keys > 10, "{ended:?}");
        assert_eq!(count(&registry, TEST_ROOT).await, 0);
        let child = tokio::task::spawn_blocking(|| finish(child)).await.unwrap();
        assert_eq!(child.code, Some(1), "{}", child.out);
        child.says(&["has ended", "this process is of that run"]);
    }
}

/// A stopped process does not notice that its run has ended, and writes again when it continues.
#[tokio::test]
async fn what_a_straggler_writes_is_swept_by_the_next_one() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let id = run.id().clone();
    let child = server.scenario("writes_for_ever").envs(run.variables()).spawn().unwrap();
    eventually("it writes", async || count(&registry, &run.prefix()).await > 20).await;
    kill("-STOP", child.id());
    let ended = run.sweep().await.unwrap();
    assert!(ended.stragglers && !ended.lost, "{ended:?}");
    let left = entry(&registry, &id).await;
    assert!(matches!(registry.liveness(&left), Liveness::Alive(_)), "{left:?}");
    kill("-CONT", child.id());
    tokio::task::spawn_blocking(|| finish(child)).await.unwrap().says(&["has ended"]);
    registry.sweep_dead(&server.lock_dir()).await.unwrap();
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    assert_eq!(std::fs::read_dir(server.lock_dir()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_run_that_is_taken_away_is_told_and_its_processes_end() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 10).await;
    let own = server.scenario("writes_for_ever").spawn().unwrap();
    eventually("two runs", async || registry.list().await.unwrap().runs.len() == 2).await;
    for found in registry.list().await.unwrap().runs {
        registry.sweep_by_force(&found).await.unwrap();
    }
    tokio::time::timeout(testkit::TIMEOUT, run.lost()).await.unwrap();
    assert!(run.sweep().await.unwrap().lost);
    let own = tokio::task::spawn_blocking(|| finish(own)).await.unwrap();
    assert_eq!(own.code, Some(1));
    own.says(&["has ended", "somebody removed the run"]);
}

/// A run whose whole prefix was deleted, heartbeat included, does not look dead.
#[tokio::test]
async fn a_heartbeat_that_is_deleted_comes_back() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, Plan::elsewhere, 10).await;
    for _ in 0..3 {
        registry.connection().all_keys().delete(format!("{}.alive", run.prefix())).await.unwrap();
        eventually("it is back", async || entry(&registry, run.id()).await.alive).await;
    }
    assert!(!run.sweep().await.unwrap().lost);
}

/// Locks of runs on an etcd that is gone are not kept for ever.
#[tokio::test]
async fn locks_of_runs_elsewhere_are_few() {
    let (server, other) = (Server::start(), Server::start());
    let (registry, elsewhere) = (server.registry().await, other.registry().await);
    for _ in 0..110 {
        let plan = Plan::new(server.lock_dir(), "elsewhere").ttl(std::time::Duration::from_secs(1));
        drop(etcd_sandbox::runs::Run::start(&elsewhere, plan).await.unwrap());
    }
    registry.sweep_dead(&server.lock_dir()).await.unwrap();
    let left = std::fs::read_dir(server.lock_dir()).unwrap().count();
    assert!(left <= 100, "{left}");
    // The locks that are left still prove that their runs are dead.
    let newest = elsewhere.list().await.unwrap().runs.pop().unwrap();
    let newest = silent(&elsewhere, &newest.id).await;
    assert!(matches!(elsewhere.liveness(&newest), Liveness::Dead(_)));
}

/// A workspace without instances has its locks among temporary files.
#[tokio::test]
async fn a_workspace_without_instances_leaves_no_lock() {
    let server = Server::start();
    let plain = workspace();
    std::fs::remove_dir(plain.path().join(".etcd")).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let mut command = server.subject(&["names"]);
    command.env("CARGO_MANIFEST_DIR", plain.path()).env("TMPDIR", temp.path());
    finished(command).await.passed(1);
    let dirs: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [dir] = dirs.as_slice() else { panic!("{dirs:?}") };
    assert!(dir.file_name().unwrap().to_str().unwrap().starts_with("etcd-sandbox-"));
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    assert!(!Path::new(&plain.path().join(".etcd")).exists());
}

use etcd_sandbox::runs::Plan;
