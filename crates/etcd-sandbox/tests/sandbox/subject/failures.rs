//! Tests that fail, in every form, if `SUBJECT_FAILS` is set; without the variable they do nothing. `timeline` starts them.

use etcd_sandbox::etcd_keys::kv::{Compare, Delete, Put, Txn};
use etcd_sandbox::etcd_keys::{Connect, Keys};
use etcd_sandbox::{Error, Sandbox};

fn asked() -> bool {
    std::env::var_os("SUBJECT_FAILS").is_some()
}

/// A rack is registered, its index is written by another transaction, and both are lost.
async fn lose_a_rack(sandbox: &Sandbox) -> Result<(), Error> {
    sandbox.put("racks/1", r#"{"blades":8,"state":"new"}"#).await?;
    sandbox.mark("registered").await?;
    let both = Txn::new().then(Put::new("racks/1", r#"{"blades":8,"state":"lost"}"#)).then(Put::new("index", "1"));
    sandbox.send(both).await?;
    sandbox.send(Delete::key("racks/1")).await?;
    Ok(())
}

#[etcd_sandbox::test]
async fn by_a_panic(sandbox: Sandbox) {
    if asked() {
        lose_a_rack(&sandbox).await.unwrap();
        assert!(sandbox.get("racks/1").await.unwrap().is_some(), "the rack is there");
    }
}

#[etcd_sandbox::test]
async fn by_an_error(sandbox: Sandbox) -> Result<(), Error> {
    if asked() {
        lose_a_rack(&sandbox).await?;
        sandbox.expect_keys([("index", "1"), ("racks/1", "")]).await?;
    }
    Ok(())
}

#[etcd_sandbox::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_panic_on_threads(sandbox: Sandbox) {
    if asked() {
        let writing = sandbox.clone();
        tokio::spawn(async move { lose_a_rack(&writing).await.unwrap() }).await.unwrap();
        // Which never lets go of the sandbox.
        std::thread::spawn(move || {
            let _sandbox = sandbox;
            std::thread::park();
        });
        panic!("after a task");
    }
}

#[etcd_sandbox::test]
fn without_async(sandbox: Sandbox) -> Result<(), Box<dyn std::error::Error>> {
    if asked() {
        sandbox.block_on(lose_a_rack(&sandbox))?;
        Err("not async")?;
    }
    Ok(())
}

#[tokio::test]
async fn of_tokio() {
    let sandbox = Sandbox::open("of_tokio").await.unwrap();
    if asked() {
        lose_a_rack(&sandbox).await.unwrap();
        let lease = sandbox.grant(std::time::Duration::from_secs(60)).await.unwrap();
        sandbox.send(Put::new("leased", "").lease(lease.id())).await.unwrap();
        lease.revoke().await.unwrap();
        panic!("of tokio");
    }
}

#[rstest::rstest]
#[case("a")]
#[tokio::test]
async fn of_rstest(#[case] key: &str) {
    let sandbox = Sandbox::open_blocking("of_rstest").unwrap();
    if asked() {
        sandbox.put(key, "of rstest").await.unwrap();
        for password in ["hunter2", "hunter3"] {
            sandbox.put("user/password", password).await.unwrap();
        }
        assert!(sandbox.expect_keys([("user/password", "hunter4")]).await.is_err());
        let soon = std::time::Duration::from_millis(10);
        assert!(sandbox.wait_until("user/password", soon, "`hunter5`", |_| false).await.is_err());
        panic!("of rstest");
    }
}

/// Passes. Its process may end at once.
#[etcd_sandbox::test]
async fn with_a_lease(sandbox: Sandbox) -> Result<(), Error> {
    let lease = sandbox.lease().await?.id();
    sandbox.send(Put::new("leased", "").lease(lease)).await?;
    Ok(())
}

/// The code under test has another prefix.
#[etcd_sandbox::test]
async fn that_writes_elsewhere(sandbox: Sandbox) {
    if asked() {
        sandbox.raw().put("/Inventory/v1/racks/1", "8 blades", None).await.unwrap();
        let (run, _) = sandbox.prefix().trim_end_matches('/').rsplit_once('/').unwrap();
        sandbox.raw().put(format!("{run}/racks/2"), "8 blades", None).await.unwrap();
        assert!(sandbox.get("racks/1").await.unwrap().is_some(), "the rack is there");
    }
}

/// A test that is to remove its keys: those of its lease and of a dropped lock go by themselves.
#[etcd_sandbox::test(clean)]
async fn that_leaves_keys(sandbox: Sandbox) -> Result<(), Error> {
    let lease = sandbox.lease().await?.id();
    sandbox.send(Put::new("leased", "").lease(lease)).await?;
    drop(sandbox.lock("lock").await?);
    sandbox.put("removed", "").await?;
    sandbox.delete("removed").await?;
    if asked() {
        for n in 0..12 {
            sandbox.put(format!("left/{n:02}"), "").await?;
        }
    }
    Ok(())
}

/// Explains nothing: it should fail.
#[etcd_sandbox::test]
#[should_panic]
async fn that_should_panic(sandbox: Sandbox) {
    sandbox.put("should", "panic").await.unwrap();
    panic!("as it should");
}

#[etcd_sandbox::test(private)]
async fn with_an_etcd_of_its_own(sandbox: Sandbox) -> Result<(), Error> {
    if asked() {
        for n in 0..500 {
            sandbox.put("counter", n.to_string()).await?;
        }
        let revision = sandbox.put("counter", "\x1b[2J\u{202e}").await?.revision;
        sandbox.raw().compact(revision - 100, None).await.unwrap();
        sandbox.mark("early").await?;
        let mut watch = sandbox.watch(etcd_keys::KeyRange::prefix(""));
        watch.recv().await?;
        let expected = sandbox.wait_until("counter", std::time::Duration::from_millis(50), "501", |_| false).await;
        for n in 600..700 {
            sandbox.put("counter", n.to_string()).await?;
        }
        expected?;
    }
    Ok(())
}

fn announce(what: &str) {
    tracing::info!(blades = 8, "{what}");
}

/// The subscriber of the process is set in the test, as is usual.
#[etcd_sandbox::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_events(sandbox: Sandbox) -> Result<(), Error> {
    use tracing::Instrument as _;

    if asked() {
        std::thread::spawn(|| announce("in a thread")).join().unwrap();
        announce("at the beginning");
        let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
        sandbox.put("racks/1", "new").await?;
        let in_task = async { announce("in a task") }.instrument(tracing::info_span!("registering", rack = 1));
        tokio::spawn(in_task).await.unwrap();
        tracing::debug!("a detail");
        sandbox.delete("racks/1").await?;
        let events = sandbox.dispatch();
        let in_thread = move || tracing::dispatcher::with_default(&events, || tracing::warn!("lost\u{1b}[31m\n"));
        std::thread::spawn(in_thread).join().unwrap();
        sandbox.expect_keys([("racks/1", "new")]).await?;
    }
    Ok(())
}

#[etcd_sandbox::test]
fn with_many_events(sandbox: Sandbox) {
    if asked() {
        (1..=1_500).for_each(|n| tracing::info!("number {n} of many"));
        sandbox.block_on(sandbox.put("racks/1", "new")).unwrap();
        panic!("after many events");
    }
}

#[etcd_sandbox::test]
async fn with_a_long_value(sandbox: Sandbox) {
    if asked() {
        for end in ["a", "b"] {
            sandbox.put("long", "<".repeat(1_000_000) + end).await.unwrap();
        }
        panic!("with a long value");
    }
}

/// Keys of the same names through a connection of its own, as code under test has.
async fn another_connection(sandbox: &Sandbox) -> Keys {
    Connect::new(sandbox.endpoints()).connect().await.unwrap().keys(sandbox.prefix()).unwrap()
}

#[etcd_sandbox::test]
async fn with_several_writers(sandbox: Sandbox) -> Result<(), Error> {
    if asked() {
        let other = another_connection(&sandbox).await;
        sandbox.put("racks/1", "new").await?;
        other.put("racks/1", "lost").await?;
        // Its answer has the revision of the other's write.
        assert!(
            !sandbox.send(Txn::new().when(Compare::absent("racks/1")).then(Put::new("racks/1", ""))).await?.succeeded
        );
        other.send(Txn::new().then(Put::new("a", "1")).then(Put::new("b", "1"))).await?;
        sandbox.send(Txn::new().when(Compare::absent("a")).or_else(Put::new("racks/1", "found"))).await?;
        for ends in [false, true] {
            let lease = other.grant(std::time::Duration::from_secs(60)).await?;
            other.send(Put::new("leased", "").lease(lease.id())).await?;
            if ends { lease.revoke().await? } else { drop(other.delete("leased").await?) }
        }
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "subject::failures::of_another_process"]);
        process.env("SUBJECT_KEY", format!("{}process", sandbox.prefix()));
        assert!(process.output().unwrap().status.success());
        sandbox.expect_keys([("racks/1", "found")]).await?;
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn of_another_process(sandbox: Sandbox) -> Result<(), Error> {
    if let Ok(key) = std::env::var("SUBJECT_KEY") {
        sandbox.connection().all_keys().put(key, "").await?;
    }
    Ok(())
}

#[etcd_sandbox::test]
async fn of_code_with_its_own_client(sandbox: Sandbox) {
    if asked() {
        let other = another_connection(&sandbox).await;
        other.put("racks/1", "new").await.unwrap();
        other.delete("racks/1").await.unwrap();
        assert!(sandbox.get("racks/1").await.unwrap().is_some(), "the rack is there");
    }
}

#[etcd_sandbox::test]
async fn with_an_unknown_result(sandbox: Sandbox) {
    if asked() {
        let other = another_connection(&sandbox).await;
        sandbox.put("a", "1").await.unwrap();
        other.put("a", "2").await.unwrap();
        sandbox.put("a", "3").await.unwrap();
        tokio::select! {
            biased;
            answer = sandbox.put("a", "4") => panic!("at once: {answer:?}"),
            () = std::future::ready(()) => {}
        }
        other.put("a", "5").await.unwrap();
        panic!("after a write that nobody waited for");
    }
}

#[etcd_sandbox::test(private, members = 3)]
async fn that_kills_members(sandbox: Sandbox) {
    if asked() {
        let etcd = sandbox.server().unwrap();
        let leader = etcd.leader().unwrap();
        let other = etcd.members().iter().find(|member| member.id() != leader.id()).unwrap();
        sandbox.put("a", "1").await.unwrap();
        etcd.move_leadership(other).unwrap();
        sandbox.put("a", "2").await.unwrap();
        other.kill().unwrap();
        // A write fails until another leads.
        let mut tries = 0..100;
        while sandbox.put("a", "3").await.is_err() {
            assert!(tries.next().is_some());
        }
        etcd.restart(other).unwrap();
        sandbox.put("a", "4").await.unwrap();
        leader.stop().unwrap();
        // By itself, as far as the sandbox knows.
        let third = etcd.members().iter().find(|member| ![leader.id(), other.id()].contains(&member.id())).unwrap();
        crate::fixture::kill("-KILL", third.pid());
        while third.is_running() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        etcd.restart(leader).unwrap();
        println!("leader {} other {} third {}", leader.name(), other.name(), third.name());
        panic!("after faults");
    }
}

#[etcd_sandbox::test(private)]
async fn whose_etcd_is_gone(sandbox: Sandbox) {
    if asked() {
        sandbox.server().unwrap().members()[0].kill().unwrap();
        panic!("etcd is gone");
    }
}
