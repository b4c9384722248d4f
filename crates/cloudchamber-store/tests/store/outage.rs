//! The server is restarted, or hangs, while the store is in use: no acknowledged write is lost, no call waits for ever,
//! and the store need not connect again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloudchamber_store::{Config, ErrorKind, Expect, Store};
use etcd_local::{Builder, Env, Foreground, Instance, Port};
use etcd_sandbox::Sandbox;

use crate::fixture::{Outcome, config, key};
use crate::watching::change;

/// For a whole test, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An instance in a directory of its own. It ends with this process, however that ends.
struct Server {
    instance: Instance,
    running: Option<Foreground>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let env = Env::from_process().unwrap();
        let settings = Builder::new(env.clone(), workspace).unwrap().settings().clone();
        let builder = Builder::with_settings(env, dir.path(), settings).port(Port::Auto).peer_port(Port::Auto);
        let instance = builder.instance("store").unwrap();
        let running = Some(instance.up_in_foreground().unwrap());
        Self { instance, running, _dir: dir }
    }

    fn endpoints(&self) -> Vec<String> {
        self.running.as_ref().unwrap().status.endpoints.clone()
    }

    /// Whether the server has the same endpoint; sometimes another program takes the port meanwhile.
    fn restart(&mut self) -> bool {
        let before = self.endpoints();
        self.instance.down().unwrap();
        self.running = Some(self.instance.up_in_foreground().unwrap());
        self.endpoints() == before
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.instance.down();
    }
}

/// Increments a counter again and again; returns the last count that was acknowledged. Later writes may be done, too.
async fn count(store: Store, stop: Arc<AtomicBool>) -> u64 {
    let (key, mut acknowledged) = (key("counter"), 0);
    while !stop.load(Ordering::Relaxed) {
        let Ok(read) = store.read(&key).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let record = read.value.unwrap().decode::<u64>().unwrap();
        assert!(record.value >= acknowledged, "{} was acknowledged, {} is there", acknowledged, record.value);
        match store.update(&key, (record.value + 1).to_string(), Expect::Revision(record.revision)).await {
            Ok(_) => acknowledged = record.value + 1,
            Err(error) if error.is_transient() => {}
            // A write that was given up was done after all.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_restarted_during_use() -> Outcome {
    for _ in 0..3 {
        if tokio::time::timeout(TIMEOUT, is_restarted_during_use()).await?? {
            return Ok(());
        }
    }
    panic!("another program took the server's port three times");
}

async fn is_restarted_during_use() -> Result<bool, Box<dyn Error>> {
    let mut server = tokio::task::block_in_place(Server::start);
    let mut config = Config { request_timeout: Duration::from_secs(2), ..Config::default() };
    config.service.endpoints = server.endpoints();
    let store = Store::connect(&config).await?;
    store.create(&key("counter"), "0").await?;
    let mut watch = store.watch(&key("counter")).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let counting = tokio::spawn(count(store.clone(), stop.clone()));
    for count in 1..=2 {
        // Used before, between and after.
        assert_eq!(change(&mut watch).await.decode_new()?, Some(count));
        if !tokio::task::block_in_place(|| server.restart()) {
            return Ok(false);
        }
    }
    // The same store, as soon as the server is there.
    let began = std::time::Instant::now();
    while let Err(error) = store.read(&key("counter")).await {
        assert!(began.elapsed() < TIMEOUT, "the server does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = counting.await?;
    let last = store.read(&key("counter")).await?.value.ok_or("the counter is gone")?.decode::<u64>()?.value;
    assert!(last >= acknowledged && last >= 2, "{acknowledged} was acknowledged, {last} is there");

    // Each count once and in order, the restarts notwithstanding.
    for count in 3..=last {
        assert_eq!(change(&mut watch).await.decode_new()?, Some(count));
    }
    Ok(true)
}

#[etcd_sandbox::test(private)]
async fn a_server_that_hangs_is_an_error_within_the_request_timeout(sandbox: Sandbox) -> Outcome {
    let mut config = config(&sandbox);
    config.request_timeout = Duration::from_millis(500);
    let store = Store::connect(&config).await?;
    let pid = sandbox.server().unwrap().pid().to_string();
    let signal = |name: &str| std::process::Command::new("kill").args([name, &pid]).status();
    assert!(signal("-STOP")?.success());
    let read = tokio::time::timeout(TIMEOUT, store.read(&key("a"))).await;
    let update = tokio::time::timeout(TIMEOUT, store.update(&key("a"), "", Expect::Any)).await;
    assert!(signal("-CONT")?.success());
    let error = read.expect("it ends").unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Etcd(etcd_keys::ErrorKind::TimedOut));
    assert_eq!(error.operation(), "read `storetest/a`");
    let key_in_etcd = format!("{}storetest/a", sandbox.prefix());
    assert!(error.etcd().unwrap().to_string().contains(&key_in_etcd), "{error:?}");
    assert!(update.expect("it ends").is_err());
    // The store continues without connecting again.
    store.create(&key("b"), "").await?;
    Ok(())
}
