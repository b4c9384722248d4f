//! Records that anybody may have written: nothing outside the run is touched because of them, nobody waits for ever, and
//! their keys can be removed.

use std::path::Path;
use std::time::Duration;

use etcd_sandbox::runs::{Found, Liveness, Registry, RunId, Swept};
use serde_json::json;

use crate::fixture::{Canaries, Server, TEST_ROOT, count, entry, fill, finished, silent};

/// A run with this record, and no heartbeat.
async fn forge(registry: &Registry, record: impl Into<Vec<u8>>) -> RunId {
    let id = RunId::fresh().unwrap();
    let keys = registry.connection().all_keys();
    keys.put(format!("{TEST_ROOT}{id}/.run"), record).await.unwrap();
    fill(&keys, &format!("{TEST_ROOT}{id}/t~1/"), 5).await;
    id
}

fn record(changes: &[(&str, serde_json::Value)]) -> Vec<u8> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut record = json!({
        "schema": 1, "state": "running", "host": host, "boot": boot.trim(), "pid": 1, "pid_start": 0,
        "lock": "/nonexistent", "command": "x", "began": "2026-11-23T11:34:33Z", "ttl": 1,
    });
    for (name, value) in changes {
        record[*name] = value.clone();
    }
    serde_json::to_vec(&record).unwrap()
}

#[tokio::test]
async fn records_that_cannot_be_read_are_listed_watched_and_swept() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 100).await;
    let random: Vec<u8> = (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let damaged = [Vec::new(), random, b"{\"schema\":1}".to_vec(), b"[]".to_vec(), b"\xff\xfe".to_vec()];
    for bytes in damaged {
        let id = forge(&registry, bytes).await;
        let run = entry(&registry, &id).await;
        assert!(matches!(run.found, Found::Damaged(_)) && run.keys == 5, "{run:?}");
        assert!(matches!(registry.liveness(&run), Liveness::Unproven(time) if time <= Duration::from_secs(600)));
        assert_eq!(registry.sweep_by_force(&run).await.unwrap(), Swept::Gone(5));
    }
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    canaries.check(&registry).await;
}

#[tokio::test]
async fn a_newer_record_is_left_alone() {
    let server = Server::start();
    let registry = server.registry().await;
    let id = forge(&registry, br#"{"schema":2,"state":{"of":"a form to come"}}"#.to_vec()).await;
    let run = entry(&registry, &id).await;
    assert!(matches!(registry.liveness(&run), Liveness::Unknown), "{run:?}");
    assert_eq!(registry.sweep_dead(&server.lock_dir()).await.unwrap(), 0);
    assert_eq!(entry(&registry, &id).await, run);
}

#[tokio::test]
async fn nobody_waits_for_years() {
    let server = Server::start();
    let registry = server.registry().await;
    for ttl in [json!(0), json!(u64::MAX), json!(1_000_000)] {
        let id = forge(&registry, record(&[("ttl", ttl.clone())])).await;
        let liveness = registry.liveness(&entry(&registry, &id).await);
        let bounds = Duration::from_secs(10)..=Duration::from_secs(600);
        assert!(matches!(liveness, Liveness::Unproven(time) if bounds.contains(&time)), "{ttl}: {liveness:?}");
    }
}

#[tokio::test]
async fn a_lock_elsewhere_proves_nothing_and_is_not_touched() {
    let server = Server::start();
    let registry = server.registry().await;
    let living = server.run(&registry, |plan| plan, 5).await;
    let dir = server.dir.path();
    let pipe = dir.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let innocent = dir.join("innocent");
    std::fs::write(&innocent, "x").unwrap();
    let relative = Path::new("../../x.lock");
    for lock in [Path::new("/etc/passwd"), &pipe, dir, living.lock(), &innocent, relative, Path::new("")] {
        let id = forge(&registry, record(&[("lock", json!(lock))])).await;
        let run = entry(&registry, &id).await;
        assert!(matches!(registry.liveness(&run), Liveness::Unproven(_)), "{}", lock.display());
        assert!(etcd_sandbox::runs::Run::adopt(&registry, id.clone()).await.unwrap().is_none(), "{}", lock.display());
        // A process that joins the run neither hangs nor locks the path.
        let mut command = server.subject(&["forms::plain"]);
        command.env("ETCD_TEST_RUN", id.as_str()).env("ETCD_TEST_PREFIX", format!("{TEST_ROOT}{id}/"));
        finished(command).await.passed(1);
        assert!(matches!(registry.sweep_by_force(&run).await.unwrap(), Swept::Gone(_)));
    }
    assert!(pipe.exists() && innocent.exists() && Path::new("/etc/passwd").exists());
    assert!(living.lock().exists() && entry(&registry, living.id()).await.keys == 5);
}

/// A lock file with the right name where the record says, but with other content.
#[tokio::test]
async fn a_lock_file_that_says_something_else_proves_nothing() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 5).await;
    let (id, path) = (run.id().clone(), run.lock().to_owned());
    drop(run);
    let dead = silent(&registry, &id).await;
    let other = server.run(&registry, |plan| plan, 5).await;
    for text in [b"".to_vec(), b"{}".to_vec(), vec![b'x'; 1 << 20], std::fs::read(other.lock()).unwrap()] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(registry.liveness(&dead), Liveness::Unproven(_)));
    }
    assert!(path.exists());
}

#[tokio::test]
async fn ids_that_lead_elsewhere_are_not_runs() {
    let server = Server::start();
    let registry = server.registry().await;
    let canaries = Canaries::put(&registry, 10).await;
    let keys = registry.connection().all_keys();
    for id in ["..", ".", "", "a", "20261123T113433Z-xyz", "20261123T113433Z-00000000000000000000000000000000x"] {
        keys.put(format!("{TEST_ROOT}{id}/.run"), record(&[])).await.unwrap();
        keys.put(format!("{TEST_ROOT}.runs/{id}"), "").await.unwrap();
    }
    let listing = registry.list().await.unwrap();
    assert_eq!((listing.runs.len(), listing.unregistered.len()), (0, 12), "{listing:?}");
    for found in listing.unregistered {
        assert_eq!(registry.delete_unregistered(&found).await.unwrap(), found.keys, "{found:?}");
    }
    assert_eq!(count(&registry, TEST_ROOT).await, 0);
    canaries.check(&registry).await;
}
