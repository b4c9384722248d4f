//! Live runs while the server is stopped for longer than their leases, and others sweep all the time.

use std::time::Duration;

use etcd_sandbox::runs::{Plan, Registry, Run};

use crate::fixture::{Canaries, Server, TEST_ROOT, count, entry, eventually, kill, rounds};

const TTL: Duration = Duration::from_secs(1);
const KEYS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_live_key_is_lost_when_the_server_stops() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 1_000).await;
    let mut runs = Vec::new();
    for n in 0..6 {
        let elsewhere = |plan: Plan| if n % 2 == 0 { plan } else { plan.elsewhere() };
        // A connection each, as separate processes have.
        runs.push(server.run(&server.registry().await, elsewhere, KEYS).await);
    }
    let mut sweepers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        sweepers.spawn(sweep_all_the_time(server.registry().await, server.lock_dir()));
    }
    for round in 0..rounds(2) {
        server.signal("-STOP");
        tokio::time::sleep(TTL * (2 + u32::try_from(round % 4).unwrap())).await;
        server.signal("-CONT");
        for run in &runs {
            eventually("the run shows that it lives", async || {
                registry.entry(run.id()).await.is_ok_and(|run| run.is_some_and(|run| run.alive))
            })
            .await;
            assert_eq!(entry(&registry, run.id()).await.keys, KEYS as u64, "round {round}: a live key is gone");
        }
    }
    assert!(sweepers.try_join_next().is_none(), "a sweeper has ended");
    for run in runs {
        assert!(!run.sweep().await.unwrap().lost);
    }
    sweepers.shutdown().await;
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    canaries.check(&registry).await;
}

/// Errors are what a stopped server gives.
async fn sweep_all_the_time(registry: Registry, dir: std::path::PathBuf) {
    loop {
        drop(registry.sweep_dead(&dir).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A full etcd takes deletions and renews leases, and refuses to put the heartbeat back.
#[tokio::test]
async fn a_heartbeat_that_goes_while_none_can_be_given_comes_back() {
    use etcd_sandbox::etcd_client::{AlarmAction, AlarmType, Client};

    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, Plan::elsewhere, 0).await;
    let mut client = Client::connect([server.endpoint()], None).await.unwrap();
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.unwrap();
    registry.connection().all_keys().delete(format!("{}.alive", run.prefix())).await.unwrap();
    // Time for more than one attempt.
    tokio::time::sleep(TTL).await;
    assert!(!entry(&registry, run.id()).await.alive);
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.unwrap();
    eventually("it is alive again", async || entry(&registry, run.id()).await.alive).await;
    assert!(!run.sweep().await.unwrap().lost);
}

/// A restarted server still has the leases: a run goes on.
#[tokio::test]
async fn a_run_outlives_a_restart_of_the_server() {
    let dir = crate::fixture::workspace();
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let env = etcd_local::Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).without("ETCDBINPATH");
    let builder = etcd_local::Builder::with_settings(env, dir.path(), etcd_local::Settings::default());
    let auto = etcd_local::Port::Auto;
    let instance = builder.port(auto).peer_port(auto).instance("test").unwrap();
    let endpoint = instance.up().unwrap().status.endpoints[0].clone();
    let connection = etcd_sandbox::etcd_keys::Connect::new([endpoint]).connect().await.unwrap();
    let roots = etcd_sandbox::runs::Roots::new("/Inventory/v1", "Test", &[]).unwrap();
    let registry = Registry::new(&connection, roots);
    let run = Run::start(&registry, Plan::new(dir.path().join("locks"), "a test").ttl(TTL)).await.unwrap();
    for wiped in [false, true] {
        if wiped {
            instance.reset().unwrap();
        } else {
            instance.status().unwrap().pids.into_iter().for_each(|pid| kill("-KILL", pid));
        }
        eventually("it is up again", async || instance.up().is_ok()).await;
        if wiped {
            // Nothing of the run is left: its owner is told.
            tokio::time::timeout(testkit::TIMEOUT, run.lost()).await.unwrap();
        } else {
            let alive = async || registry.entry(run.id()).await.is_ok_and(|run| run.is_some_and(|run| run.alive));
            eventually("it is alive again", alive).await;
            tokio::time::sleep(TTL * 2).await;
            eventually("it stays so", alive).await;
        }
    }
    drop((run, registry, connection));
    instance.down().unwrap();
}
