//! Tests as users write them. They run with all others, in the run that they are started in; `ending`, `isolation` and
//! others start them once more, in processes of their own, on an etcd that they know.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use etcd_sandbox::etcd_keys::kv::Put;
use etcd_sandbox::etcd_keys::watch::EventKind;
use etcd_sandbox::{Error, Sandbox};

use crate::fixture::kill;

mod failures;

/// Every form that a test can have.
mod forms {
    use super::*;

    #[etcd_sandbox::test]
    async fn asynchronous(sandbox: Sandbox) {
        assert!(sandbox.prefix().contains("/sandbox.subject.forms.asynchronous~"), "{sandbox:?}");
        sandbox.put("a", "1").await.unwrap();
    }

    #[etcd_sandbox::test]
    fn plain(sandbox: Sandbox) {
        sandbox.block_on(sandbox.put("a", "1")).unwrap();
        sandbox.block_on(sandbox.expect_keys([("a", "1")])).unwrap();
    }

    #[etcd_sandbox::test]
    async fn with_a_result(sandbox: Sandbox) -> Result<(), Error> {
        sandbox.put("a", "1").await?;
        sandbox.expect_keys([("a", "1")]).await
    }

    /// Without a sandbox the test fails: it would pass for the wrong reason.
    #[etcd_sandbox::test]
    #[should_panic]
    async fn that_panics(sandbox: Sandbox) {
        panic!("as it should, in {sandbox:?}");
    }

    /// As in a crate whose users do not depend on etcd-sandbox themselves.
    mod reexport {
        pub(super) use etcd_sandbox::*;
    }

    #[reexport::test(flavor = "multi_thread", worker_threads = 2, crate = "reexport")]
    async fn with_threads(sandbox: reexport::Sandbox) -> Result<(), Error> {
        assert_eq!(tokio::runtime::Handle::current().metrics().num_workers(), 2);
        let writing = sandbox.clone();
        tokio::spawn(async move { writing.put("a", "1").await }).await.unwrap()?;
        sandbox.expect_keys([("a", "1")]).await
    }

    #[tokio::test]
    async fn of_tokio() -> Result<(), Error> {
        let sandbox = Sandbox::open("of_tokio").await?;
        sandbox.put("a", "1").await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_tokio_with_threads() -> Result<(), Error> {
        let sandbox = Sandbox::open("of_tokio_with_threads").await?;
        let writing = sandbox.clone();
        tokio::spawn(async move { writing.put("a", "1").await }).await.unwrap()?;
        sandbox.wait_for("a", "1").await?;
        Ok(())
    }

    #[test]
    fn blocking() -> Result<(), Error> {
        let sandbox = Sandbox::open_blocking("blocking")?;
        sandbox.block_on(sandbox.put("a", "1"))?;
        sandbox.block_on(sandbox.expect_keys([("a", "1")]))
    }

    #[rstest::fixture]
    fn sandbox() -> Sandbox {
        Sandbox::open_blocking("of_rstest").unwrap()
    }

    #[rstest::rstest]
    #[case("a")]
    #[case("b")]
    #[tokio::test]
    async fn of_rstest(sandbox: Sandbox, #[case] key: &str) -> Result<(), Error> {
        sandbox.put(key, "1").await?;
        sandbox.expect_keys([(key, "1")]).await
    }
}

/// The functions for authors of tests.
mod helpers {
    use super::*;

    #[etcd_sandbox::test]
    async fn waiting(sandbox: Sandbox) -> Result<(), Error> {
        let late = sandbox.clone();
        let writing = tokio::spawn(async move {
            late.put("state", "starting").await?;
            late.put("state", "ready").await
        });
        assert_eq!(sandbox.wait_for("state", "ready").await?.value, b"ready");
        writing.await.unwrap()?;
        let soon = Duration::from_millis(300);
        let error = sandbox.wait_until("state", soon, "gone", |kv| kv.is_none()).await.unwrap_err();
        let said = format!("{error:?}");
        assert_eq!(said, "`state` was not gone within 0.3 s: its value is `ready`");
        let late = sandbox.clone();
        let deleting = tokio::spawn(async move { late.delete("state").await });
        sandbox.wait_absent("state").await?;
        assert_eq!(sandbox.get("state").await?, None);
        deleting.await.unwrap()?;
        sandbox.wait_absent("state").await?;
        let error = sandbox.wait_until("state", soon, "there", |kv| kv.is_some()).await.unwrap_err();
        assert!(error.to_string().ends_with("it is absent"), "{error}");
        Ok(())
    }

    /// On one thread, which the writer stops: what waits hears of both values at once.
    #[tokio::test]
    async fn waiting_for_what_does_not_last() -> Result<(), Error> {
        let sandbox = Sandbox::open("waiting_for_what_does_not_last").await?;
        sandbox.put("state", "new").await?;
        let waits = sandbox.clone();
        let waiting = tokio::spawn(async move { waits.wait_for("state", "starting").await });
        // Again, until the task waits already.
        while !waiting.is_finished() {
            let writes = sandbox.clone();
            let writing = std::thread::spawn(move || {
                writes.block_on(writes.put("state", "starting"))?;
                writes.block_on(writes.put("state", "ready"))
            });
            writing.join().unwrap()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(waiting.await.unwrap()?.value, b"starting");
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn expecting(sandbox: Sandbox) -> Result<(), Error> {
        sandbox.put("a", "1").await?;
        sandbox.put("b", "2").await?;
        sandbox.expect_keys([("b", "2"), ("a", "1")]).await?;
        let said = format!("{:?}", sandbox.expect_keys([("a", "2"), ("c", "3")]).await.unwrap_err());
        for line in ["~ a = 1, not 2", "+ b = 2", "- c = 3", sandbox.prefix()] {
            assert!(said.contains(line), "{line}: {said}");
        }
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn history(sandbox: Sandbox) -> Result<(), Error> {
        assert_eq!(sandbox.history().await?, []);
        sandbox.put("a", "1").await?;
        sandbox.put("a", "2").await?;
        sandbox.delete("a").await?;
        let other = Sandbox::open("other").await?;
        other.put("a", "not here").await?;
        let told: Vec<_> =
            sandbox.history().await?.into_iter().map(|event| (event.kind, event.kv.key, event.kv.value)).collect();
        let (put, a) = (EventKind::Put, || b"a".to_vec());
        assert_eq!(told, [(put, a(), b"1".to_vec()), (put, a(), b"2".to_vec()), (EventKind::Delete, a(), vec![])]);
        assert_eq!(sandbox.history().await?.len(), 3, "asking changes nothing");
        // Nor does it leave anything where the code under test looks.
        let all = etcd_sandbox::etcd_client::GetOptions::new().with_prefix();
        let found = sandbox.raw().get(sandbox.prefix(), Some(all)).await.unwrap();
        assert!(found.kvs().is_empty());
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn lease(sandbox: Sandbox) -> Result<(), Error> {
        let id = sandbox.lease().await?.id();
        assert_eq!(sandbox.lease().await?.id(), id, "one a sandbox");
        sandbox.send(Put::new("on", "lease").lease(id)).await?;
        let (prefix, mut raw) = (sandbox.prefix().to_owned(), sandbox.raw());
        drop(sandbox);
        let watching = Sandbox::open("watching").await?;
        let key = format!("{prefix}on");
        let gone = async {
            while !raw.get(key.as_str(), None).await.unwrap().kvs().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Long before it would run out.
        tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
        drop(watching);
        Ok(())
    }

    #[etcd_sandbox::test]
    async fn raw_client(sandbox: Sandbox) -> Result<(), Error> {
        let mut raw = etcd_sandbox::etcd_client::Client::connect(sandbox.endpoints(), None).await.unwrap();
        raw.put(format!("{}a", sandbox.prefix()), "1", None).await.unwrap();
        sandbox.raw().put(format!("{}b", sandbox.prefix()), "2", None).await.unwrap();
        sandbox.expect_keys([("a", "1"), ("b", "2")]).await
    }
}

/// `SUBJECT_TESTS` tests of the same name, at the same time. None of them sees another's key.
#[tokio::test]
async fn crowd() {
    let tests: usize = std::env::var("SUBJECT_TESTS").map_or(10, |tests| tests.parse().unwrap());
    let together = std::rc::Rc::new(tokio::sync::Barrier::new(tests));
    let local = tokio::task::LocalSet::new();
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..tests {
        crowd.spawn_local_on(one_of_a_crowd(n, std::rc::Rc::clone(&together)), &local);
    }
    let prefixes: BTreeSet<_> = local.run_until(crowd.join_all()).await.into_iter().collect();
    assert_eq!(prefixes.len(), tests);
}

async fn one_of_a_crowd(n: usize, together: std::rc::Rc<tokio::sync::Barrier>) -> String {
    together.wait().await;
    let sandbox = Sandbox::open("crowd").await.unwrap();
    let (mine, only) = (n.to_string(), format!("only/{n}"));
    retrying(async || Ok(sandbox.put("key", mine.as_str()).await?)).await;
    retrying(async || Ok(sandbox.put(only.as_str(), "").await?)).await;
    together.wait().await;
    retrying(async || sandbox.expect_keys([("key", mine.as_str()), (&only, "")]).await).await;
    let all = etcd_sandbox::etcd_keys::KeyRange::all;
    retrying(async || Ok(sandbox.delete_range(all()).await?)).await;
    together.wait().await;
    retrying(async || sandbox.expect_keys::<&str, &str>([]).await).await;
    sandbox.prefix().to_owned()
}

/// On a busy machine a thousand tests may keep etcd busy for longer than one request's timeout.
async fn retrying<T>(ask: impl AsyncFn() -> Result<T, Error>) -> T {
    let mut tries = 0..20;
    loop {
        match ask().await {
            Err(Error::Etcd(error)) if error.kind.is_transient() && tries.next().is_some() => {}
            done => return done.unwrap(),
        }
    }
}

/// Any name is good for a sandbox.
#[tokio::test]
async fn names() {
    let long = "very::long::".repeat(100);
    let mut prefixes = BTreeSet::new();
    for name in ["", "/", "..", "a/b", "a", "a", ".run", ".alive", "\0\u{1}ü", "case 1: [x]", long.as_str()] {
        let sandbox = Sandbox::open(name).await.unwrap();
        let root = std::env::var("ETCD_TEST_PREFIX").unwrap_or_default();
        let segment = sandbox.prefix().strip_prefix(root.as_str()).unwrap().strip_suffix('/').unwrap().to_owned();
        let segment = segment.rsplit('/').next().unwrap();
        assert!(!segment.starts_with('.') && segment.len() < 128, "{segment}");
        sandbox.put("a", "1").await.unwrap();
        sandbox.expect_keys([("a", "1")]).await.unwrap();
        assert!(prefixes.insert(sandbox.prefix().to_owned()), "{name}");
    }
}

/// Changes the whole server.
#[etcd_sandbox::test(private)]
async fn private(sandbox: Sandbox) -> Result<(), Error> {
    sandbox.put("a", "1").await?;
    let revision = sandbox.put("a", "2").await?.revision;
    let mut raw = sandbox.raw();
    raw.compact(revision, None).await.unwrap();
    raw.user_add("root", "x", None).await.unwrap();
    raw.user_grant_role("root", "root").await.unwrap();
    raw.auth_enable().await.unwrap();
    assert!(
        matches!(sandbox.put("a", "3").await, Err(error) if matches!(error.kind, etcd_sandbox::etcd_keys::ErrorKind::Denied(_)))
    );
    assert_ne!(sandbox.server().unwrap().pid().to_string(), std::env::var("SUBJECT_ETCD_PID").unwrap_or_default());
    println!("private pid {} log {}", sandbox.server().unwrap().pid(), sandbox.server().unwrap().log().display());
    assert!(sandbox.server().unwrap().is_alive());
    Ok(())
}

#[etcd_sandbox::test(private, members = 3)]
async fn private_members(sandbox: Sandbox) -> Result<(), Error> {
    let server = sandbox.server().unwrap();
    assert_eq!((server.members().len(), sandbox.endpoints()), (3, &*server.endpoints()));
    sandbox.put("a", "1").await?;
    let leader = server.leader().unwrap();
    leader.kill().unwrap();
    // The members elect another leader, and until then a write fails.
    while sandbox.put("a", "2").await.is_err() {
        assert!(!server.is_alive());
    }
    server.restart(leader).unwrap();
    assert!(server.is_alive());
    sandbox.expect_keys([("a", "2")]).await?;
    println!(
        "members {}",
        server.members().iter().map(|member| member.pid().to_string()).collect::<Vec<_>>().join(" ")
    );
    Ok(())
}

/// With users, of several members: the sandbox is root, whom others are not.
#[etcd_sandbox::test(private, members = 3, auth)]
async fn private_members_with_users(sandbox: Sandbox) -> Result<(), Error> {
    let server = sandbox.server().unwrap();
    sandbox.put("a", "1").await?;
    let users = sandbox.connection().users().await?;
    assert_eq!(users, ["root"]);
    let nobody = etcd_sandbox::etcd_keys::Connect::new(sandbox.endpoints()).connect().await;
    let refused = match nobody {
        Ok(connection) => connection.all_keys().put("/x", "1").await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused.kind, etcd_sandbox::etcd_keys::ErrorKind::Denied(_)), "{refused:?}");
    let follower = server.members().iter().find(|member| member.id() != server.leader().unwrap().id()).unwrap();
    server.move_leadership(follower).unwrap();
    sandbox.expect_keys([("a", "1")]).await
}

/// With TLS and users, of several members: what asks the members for their leader speaks plain HTTP.
#[etcd_sandbox::test(private, members = 3, tls, auth)]
async fn private_members_with_tls_and_users(sandbox: Sandbox) -> Result<(), Error> {
    let server = sandbox.server().unwrap();
    assert!(sandbox.endpoints().iter().all(|url| url.starts_with("https://")));
    sandbox.put("a", "1").await?;
    let config = server.client_config();
    assert!(config.cacert.is_some() && config.user.as_deref() == Some("root"));
    let stranger = etcd_workspace::ClientConfig { cert: None, key: None, ..config };
    let refused = etcd_sandbox::connect_options(&stranger).connect().await.unwrap_err();
    assert!(matches!(refused.kind, etcd_sandbox::etcd_keys::ErrorKind::Tls(_)), "{refused:?}");
    let leader = server.leader().unwrap();
    let follower = server.members().iter().find(|member| member.id() != leader.id()).unwrap();
    server.move_leadership(follower).unwrap();
    leader.kill().unwrap();
    server.restart(leader).unwrap();
    sandbox.expect_keys([("a", "1")]).await
}

/// What only other tests want: `SUBJECT_SCENARIO` names it. Without the variable this test does nothing.
#[etcd_sandbox::test]
async fn scenario(sandbox: Sandbox) -> Result<(), Error> {
    let name = std::env::var("SUBJECT_SCENARIO").unwrap_or_default();
    let exists =
        |key: &'static str, seconds| sandbox.wait_until(key, Duration::from_secs(seconds), "there", |kv| kv.is_some());
    match name.as_str() {
        "" => {}
        "panics" => panic!("this test fails, in {sandbox:?}"),
        "fails" => sandbox.expect_keys([("a", "1")]).await?,
        "opens_without_asking" => open_while_etcd_is_stopped(&sandbox).await,
        "leaks_a_writer" => {
            leak_a_writer(sandbox.clone());
            exists("leaked/10", 30).await?;
        }
        "leaks_a_process" => {
            let mut sleep = std::process::Command::new("sleep");
            let child = sleep.arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            println!("leaked {}", child.unwrap().id());
            sandbox.put("a", "1").await?;
        }
        "uses_a_foreign_key" => drop(sandbox.keys().connection().all_keys().get("/Inventory/v1/racks").await?),
        // Until the process is killed, or its run ends; etcd may be away.
        "writes_for_ever" => {
            for n in 0_u64.. {
                let _ = sandbox.put(format!("{}", n % 700), "x").await;
            }
        }
        "writes_until_etcd_is_gone" => loop {
            sandbox.put("a", "1").await?;
        },
        "waits_for_a_key" => {
            sandbox.put("waiting", "").await?;
            exists("a", 3).await?;
        }
        _ => panic!("there is no scenario `{name}`"),
    }
    Ok(())
}

/// A request to etcd would wait meanwhile.
async fn open_while_etcd_is_stopped(first: &Sandbox) {
    let etcd = std::env::var("SUBJECT_ETCD_PID").unwrap().parse().unwrap();
    kill("-STOP", etcd);
    let opening = async {
        for n in 0..1_000 {
            drop(Sandbox::open(&format!("another_{n}")).await.unwrap());
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(60), opening).await;
    kill("-CONT", etcd);
    opened.unwrap();
    first.put("a", "1").await.unwrap();
}

/// A thread that nobody waits for, with a client of the sandbox's.
fn leak_a_writer(sandbox: Sandbox) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for n in 0.. {
                if sandbox.put(format!("leaked/{n}"), "x").await.is_err() {
                    std::thread::park();
                }
            }
        });
    });
}
