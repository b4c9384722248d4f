//! Clusters that are reached by TLS: what lets us in, and what each failure is called. Against real etcds.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail on the spot")]

use std::time::{Duration, Instant};

use etcd_keys::tls::{Tls, TlsError};
use etcd_keys::watch::Notice;
use etcd_keys::{Connect, Error, ErrorKind, KeyRange};
use testkit::secure::{Ca, Secure, Validity};
use testkit::{Etcd, Proxy};

const HERE: &[&str] = &["127.0.0.1", "localhost"];

/// Until something hangs, on a machine under any load.
const HANGS: Duration = Duration::from_secs(60);

async fn failure(connect: Connect) -> ErrorKind {
    connect.connect().await.map(drop).unwrap_err().kind
}

#[tokio::test]
async fn a_trusted_server_lets_us_in() -> Result<(), Error> {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let ca = Ca::new();
        let server = Secure::start(etcd, &ca, &ca.sign(HERE, "server", Validity::Now), false);
        let bare = server.url.trim_start_matches("https://").to_owned();
        for (url, tls) in [
            (server.url.as_str(), Tls::default().ca(ca.pem.as_str())),
            // With settings for TLS, no scheme means TLS.
            (&bare, Tls::default().ca(ca.pem.as_str())),
            (&server.url, Tls::default().insecure_skip_verify()),
        ] {
            let keys = Connect::new([url]).tls(tls).connect().await?.keys("/n/")?;
            let revision = keys.put("a", "1").await?.revision;
            assert_eq!(keys.pages(KeyRange::all()).try_next().await?.unwrap().value, b"1");
            let mut watch = keys.watch(KeyRange::key("a")).from_revision(revision);
            assert!(matches!(watch.recv().await?, Notice::Listed { .. }));
            assert!(matches!(watch.recv().await?, Notice::Event(event) if event.kv.value == b"1"));
            keys.lock("l").await?.release().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_at_an_ipv6_address_lets_us_in_if_its_certificate_has_the_address() -> Result<(), Error> {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no ::1");
        return Ok(());
    }
    let ca = Ca::new();
    let connect = |url: &str| Connect::new([url]).tls(Tls::default().ca(ca.pem.as_str()));
    let start = |hosts| Secure::start_at("[::1]", Etcd::V3_7, &ca, &ca.sign(hosts, "server", Validity::Now), false);
    let server = start(&["::1"]);
    assert!(server.url.starts_with("https://[::1]:"), "{}", server.url);
    connect(&server.url).connect().await?.keys("/n/")?.put("a", "1").await?;
    let other = start(HERE);
    let expected = ErrorKind::Tls(TlsError::WrongHost("::1".to_owned()));
    assert_eq!(failure(connect(&other.url)).await, expected);
    Ok(())
}

#[tokio::test]
async fn each_failure_says_what_it_is() {
    let ca = Ca::new();
    let trusting = || Tls::default().ca(ca.pem.as_str());
    let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(HERE, "server", Validity::Now), false);
    let url = server.url.as_str();
    let unknown = ErrorKind::Tls(TlsError::UnknownIssuer);
    assert_eq!(failure(Connect::new([url])).await, unknown, "the system does not trust it");
    assert_eq!(failure(Connect::new([url]).tls(Tls::default().ca(Ca::new().pem))).await, unknown);
    let plain = Connect::new([url.replace("https", "http")]);
    assert_eq!(failure(plain).await, ErrorKind::Tls(TlsError::TlsOnly));
    let text = Connect::new([url]).tls(Tls::default().ca("no PEM"));
    assert_eq!(failure(text).await, ErrorKind::Invalid("the CA file has no certificate in PEM".to_owned()));

    for (hosts, validity, expected) in [
        (HERE, Validity::Past, TlsError::Expired),
        (HERE, Validity::Future, TlsError::NotValidYet),
        (&["example.com"], Validity::Now, TlsError::WrongHost("127.0.0.1".to_owned())),
    ] {
        let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(hosts, "server", validity), false);
        assert_eq!(failure(Connect::new([server.url.as_str()]).tls(trusting())).await, ErrorKind::Tls(expected));
    }

    let plain = Etcd::V3_7.shared_endpoint().replace("http", "https");
    assert_eq!(failure(Connect::new([plain]).tls(trusting())).await, ErrorKind::Tls(TlsError::NotTls));
}

#[tokio::test]
async fn servers_that_want_to_know_us_get_our_certificate() {
    for etcd in [Etcd::V3_5, Etcd::V3_7] {
        let (ca, other) = (Ca::new(), Ca::new());
        let server = Secure::start(etcd, &ca, &ca.sign(HERE, "server", Validity::Now), true);
        let trusting = || Tls::default().ca(ca.pem.as_str());
        let connect = |tls| Connect::new([server.url.as_str()]).tls(tls);
        assert_eq!(failure(connect(trusting())).await, ErrorKind::Tls(TlsError::NoClientCertificate));
        let stranger = other.sign(&[], "root", Validity::Now);
        let refused = failure(connect(trusting().client_certificate(stranger.certificate, stranger.key))).await;
        assert!(matches!(refused, ErrorKind::Tls(TlsError::ClientCertificateRefused(_))), "{refused:?}");
        let expired = ca.sign(&[], "root", Validity::Past);
        let refused = failure(connect(trusting().client_certificate(expired.certificate, expired.key))).await;
        assert!(matches!(refused, ErrorKind::Tls(TlsError::ClientCertificateRefused(_))), "{refused:?}");

        // Its common name is the user.
        let root = ca.sign(&[], "root", Validity::Now);
        let connection = connect(trusting().client_certificate(root.certificate, root.key)).connect().await.unwrap();
        let mut client = connection.raw();
        client.user_add("root", "secret", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.user_add("guest", "", None).await.unwrap();
        client.auth_enable().await.unwrap();
        connection.all_keys().put("a", "1").await.unwrap();
        let guest = ca.sign(&[], "guest", Validity::Now);
        let guest = connect(trusting().client_certificate(guest.certificate, guest.key)).connect().await.unwrap();
        let denied = guest.all_keys().put("a", "1").await.unwrap_err();
        assert!(matches!(denied.kind, ErrorKind::Denied(_)), "{denied}");
    }
}

/// What is open stays open; what is opened again says why it cannot be.
#[tokio::test]
async fn a_certificate_that_expires_while_it_is_in_use_is_said() {
    let ca = Ca::new();
    // A slow machine may need longer until the first call.
    for seconds in [3, 15, 60] {
        let (began, valid) = (Instant::now(), Duration::from_secs(seconds));
        let server = Secure::start(Etcd::V3_7, &ca, &ca.sign(HERE, "server", Validity::For(valid)), false);
        let proxy = Proxy::start(&server.url.replace("https", "http")).unwrap();
        let url = proxy.endpoint().replace("http", "https");
        let Ok(connection) = Connect::new([url]).tls(Tls::default().ca(ca.pem.as_str())).connect().await else {
            assert!(began.elapsed() >= valid);
            continue;
        };
        let keys = connection.keys("/n/").unwrap();
        let mut watch = keys.watch(KeyRange::all());
        assert!(matches!(watch.recv().await.unwrap(), Notice::Listed { .. }));
        // A second more, in which the certificate is still valid: it counts whole ones.
        tokio::time::sleep((valid + Duration::from_secs(2)).saturating_sub(began.elapsed())).await;
        keys.put("a", "1").await.unwrap();
        assert!(matches!(watch.recv().await.unwrap(), Notice::Event(event) if event.kv.value == b"1"));
        proxy.cut();
        let error = loop {
            match keys.put("a", "2").await.unwrap_err() {
                // The connection broke under it.
                error if error.kind == ErrorKind::Unreachable => assert!(began.elapsed() < HANGS * 2),
                error => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::Tls(TlsError::Expired), "{error}");
        let watched = tokio::time::timeout(HANGS, watch.recv()).await.unwrap();
        assert_eq!(watched.unwrap_err().kind, ErrorKind::Tls(TlsError::Expired));
        return;
    }
    unreachable!("no connection could be made in a minute");
}
