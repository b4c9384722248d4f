//! Connecting and what can be in the way; disconnecting; the cluster; what is cleaned, and what never is.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use cloudchamber_store::{Condition, Config, Error, ErrorKind, Expect, Store, TestSettings, Transaction};
use etcd_local::{Builder, Env};
use etcd_sandbox::Sandbox;
use testkit::secure::{Ca, Secure, Validity};
use testkit::{Etcd, free_port};

use crate::fixture::{Outcome, config, key, open, prefix};

fn is_disconnected(error: &Error) -> bool {
    error.kind() == &ErrorKind::Disconnected
        && error.to_string() == format!("cannot {}: the store is disconnected; connect again", error.operation())
}

#[etcd_sandbox::test]
async fn every_operation_of_a_disconnected_store_says_disconnected(sandbox: Sandbox) -> Outcome {
    let store = open(&sandbox).await;
    let (key, below) = (key("a"), prefix("a"));
    store.create(&key, "1").await?;
    let clone = store.clone();
    store.disconnect()?;
    assert!(is_disconnected(&clone.create(&key, "").await.unwrap_err()));
    assert!(is_disconnected(&clone.create_many([(key.clone(), "")]).await.unwrap_err()));
    assert!(is_disconnected(&clone.read(&key).await.unwrap_err()));
    assert!(is_disconnected(&clone.read_many([key.clone()]).await.unwrap_err()));
    assert!(is_disconnected(&clone.update(&key, "", Expect::Any).await.unwrap_err()));
    assert!(is_disconnected(&clone.delete(&key, Expect::Any).await.unwrap_err()));
    assert!(is_disconnected(&clone.delete_many([key.clone()]).await.unwrap_err()));
    assert!(is_disconnected(&clone.delete_many_at([(key.clone(), 1)]).await.unwrap_err()));
    assert!(is_disconnected(&clone.delete_prefix(&below).await.unwrap_err()));
    assert!(is_disconnected(&clone.list(&below).await.unwrap_err()));
    assert!(is_disconnected(&clone.commit(Transaction::new().read(&key, Condition::None)).await.unwrap_err()));
    assert!(is_disconnected(&clone.watch(&key).await.unwrap_err()));
    assert!(is_disconnected(&clone.members().await.unwrap_err()));
    assert!(is_disconnected(&clone.refresh_endpoints().await.unwrap_err()));
    assert!(is_disconnected(&clone.disconnect().unwrap_err()));
    assert_eq!(format!("{clone:?}"), "Store(disconnected)");
    // Nothing of the store's is lost by that.
    assert_eq!(open(&sandbox).await.read(&key).await?.value.unwrap().value, b"1");
    Ok(())
}

#[tokio::test]
async fn no_etcd_is_an_error_within_the_connect_timeout() {
    // A port that nobody listens on, and one whose listener never says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for port in [free_port(), silent.local_addr().unwrap().port()] {
        let mut config = Config { connect_timeout: Duration::from_millis(500), ..Config::default() };
        config.service.port = port;
        let connecting = tokio::time::timeout(Duration::from_secs(60), Store::connect(&config)).await;
        let Err(error) = connecting.expect("it ends") else { panic!("connected to {port}") };
        assert!(error.is_transient());
        let message = error.to_string();
        assert!(message.starts_with(&format!("cannot connect at http://localhost:{port}: no ")), "{message}");
    }
}

#[tokio::test]
async fn settings_that_exclude_each_other_reach_no_etcd() {
    let test = TestSettings { use_test_namespace: true, use_unique_instance: true, pre_clean_store: true };
    let mut config = Config { test, ..Config::default() }.in_sandbox("/CloudChamber/v0.1/Test/x/");
    config.service.port = 1;
    let error = Store::connect(&config).await.unwrap_err();
    let message = "cannot connect: `PreCleanStore` cannot be used with UseUniqueInstance: ";
    assert!(matches!(error.kind(), ErrorKind::InvalidConfig { line: None, .. }), "{error:?}");
    assert!(error.to_string().starts_with(message), "{error}");
    config.test.pre_clean_store = false;
    config.sandbox = None;
    let error = Store::connect(&config).await.unwrap_err();
    assert!(error.to_string().contains("set ETCD_TEST_PREFIX, as `cargo xtask test` does"), "{error}");
}

#[etcd_sandbox::test]
async fn the_members_are_listed_and_their_urls_used(sandbox: Sandbox) -> Outcome {
    // By another name than the one that the cluster tells.
    let mut config = config(&sandbox);
    config.service.endpoints = sandbox.endpoints().iter().map(|url| url.replace("127.0.0.1", "localhost")).collect();
    let store = Store::connect(&config).await?;
    let members = store.members().await?;
    assert!(members.revision >= store.connected_at());
    let urls: Vec<_> = members.value.iter().flat_map(|member| member.client_urls.clone()).collect();
    assert!(!urls.is_empty() && members.value.iter().all(|member| !member.is_learner && member.id != 0));

    let mut watch = store.watch(&key("a")).await?;
    let refreshed = store.refresh_endpoints().await?;
    assert_eq!(refreshed.value.len(), urls.len());
    assert_eq!(store.endpoints()?, refreshed.value);
    assert_eq!(store.refresh_endpoints().await?.value, refreshed.value);
    let created = store.create(&key("a"), "1").await?;
    assert_eq!(crate::watching::change(&mut watch).await.revision, created);
    Ok(())
}

/// An etcd of the test's own, with one more flag.
fn etcd(flag: &str) -> etcd_local::Ephemeral {
    let builder = Builder::new(Env::from_process().unwrap(), concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).unwrap();
    builder.arg(flag).start_ephemeral().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_urls_that_nobody_answers_are_not_used() -> Outcome {
    let etcd = etcd("--advertise-client-urls=http://127.0.0.1:1");
    let mut config = Config::default();
    config.service.endpoints = etcd.endpoints();
    let store = Store::connect(&config).await?;
    let error = store.refresh_endpoints().await.unwrap_err();
    let message = "cannot use the client URLs that the members advertise at http://127.0.0.1:1: no etcd answers";
    assert_eq!(error.to_string(), message);
    assert_eq!(store.endpoints()?, etcd.endpoints());
    store.create(&key("a"), "still here").await?;
    Ok(())
}

#[etcd_sandbox::test(private)]
async fn only_the_standard_test_namespace_is_cleaned(sandbox: Sandbox) -> Outcome {
    let root = cloudchamber_store::ROOT;
    let all = sandbox.connection().all_keys();
    let others = ["", "racks/rack/1", "Test", "Test/Standard", "Test/Standard2/a", "Test/run/a"];
    for other in others {
        all.put(format!("{root}{other}"), "stays").await?;
    }
    for number in 0..300 {
        all.put(format!("{root}Test/Standard/storetest/{number}"), "goes").await?;
    }
    all.put(format!("{root}Test/Standard/whatever"), "goes").await?;
    let mut config = config(&sandbox);
    config.test = TestSettings { use_test_namespace: true, use_unique_instance: false, pre_clean_store: false };

    // Unasked, nothing goes.
    let store = Store::connect(&config).await?;
    assert_eq!(store.list(&cloudchamber_store::Root::StoreTest.prefix()).await?.value.len(), 300);
    config.test.pre_clean_store = true;
    let store = Store::connect(&config).await?;
    assert!(store.list(&cloudchamber_store::Root::StoreTest.prefix()).await?.value.is_empty());
    store.create(&key("fresh"), "1").await?;
    let left = all.prefix(root).await?;
    let left: Vec<_> = left.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).replace(root, "")).collect();
    let mut expected = [&others[..], &["Test/Standard/storetest/fresh"]].concat();
    expected.sort_unstable();
    assert_eq!(left, expected);
    Ok(())
}

/// A cluster that clients reach by TLS, as the configuration says and as a run's variables say.
#[tokio::test]
async fn a_cluster_with_tls_is_reached() -> Result<(), Box<dyn std::error::Error>> {
    let ca = Ca::new();
    let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(&["127.0.0.1"], "server", Validity::Now), true);
    let client = ca.sign(&[], "store", Validity::Now);
    let file = |name: &str, text: &str| {
        std::fs::write(server.dir().join(name), text).unwrap();
        server.dir().join(name).display().to_string()
    };
    let files = [("ca", ca.pem.as_str()), ("cert", &client.certificate), ("key", &client.key)].map(|(n, t)| file(n, t));
    let [ca, cert, key] = &files;
    let service = format!("endpoints: [\"{}\"], caCert: {ca}, cert: {cert}", server.url);
    let config = Config::parse(&format!("store: {{ etcdService: {{ {service}, key: {key} }} }}"), "inline")?;
    let store = Store::connect(&config).await?;
    assert_eq!(store.refresh_endpoints().await?.value, store.endpoints()?, "also the members' URLs");

    let test = "store: { test: { UseTestNamespace: 1, UseUniqueInstance: 1 } }";
    let variables = [
        ("ETCD_ENDPOINTS", server.url.as_str()),
        ("ETCD_TEST_PREFIX", "/CloudChamber/v0.1/Test/r/"),
        ("ETCDCTL_CACERT", ca),
        ("ETCDCTL_CERT", cert),
        ("ETCDCTL_KEY", key),
    ];
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Store::connect(&Config::parse(test, "inline")?.in_run(variable)).await?;
    Ok(())
}
