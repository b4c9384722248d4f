//! TLS, passed through to etcd-client, against a real etcd. Needs the feature, and the program `openssl` for a
//! certificate (etcd's own, of `--auto-tls`, is of a curve that ring does not know):
//! `cargo nextest run -p etcd-keys --features tls --test tls`.

#![cfg(all(unix, feature = "tls"))]
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail on the spot")]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Certificate, ConnectOptions, TlsOptions};
use etcd_keys::watch::Notice;
use etcd_keys::{Connect, Error, ErrorKind, KeyRange};
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Settings};
use tempfile::TempDir;

struct Etcd {
    process: Child,
    certificate: Certificate,
    url: String,
    _dir: TempDir,
}

/// A certificate for 127.0.0.1 that nobody has signed but itself; `None`: this machine has no openssl.
fn certificate(dir: &Path) -> Option<Certificate> {
    let config = "[req]\ndistinguished_name=name\nx509_extensions=extensions\nprompt=no\n[name]\nCN=etcd\n\
        [extensions]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
    std::fs::write(dir.join("config"), config).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-config", "config", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
        .then(|| Certificate::from_pem(std::fs::read(dir.join("cert.pem")).unwrap()))
}

impl Etcd {
    /// `etcd-local` starts none with TLS: this one is started by hand.
    fn start() -> Option<Self> {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
        let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache);
        let builder = Builder::with_settings(env, env!("CARGO_MANIFEST_DIR"), Settings::default());
        let binary = builder.binaries().find(&Wanted::Exactly(semver::Version::new(3, 7, 2))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let certificate = certificate(dir.path())?;
        let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = ports.map(|port| port.local_addr().unwrap());
        let (url, peer) = (format!("https://{client}"), format!("http://{peer}"));
        let process = Command::new(binary.path)
            .args(["--cert-file", "cert.pem", "--key-file", "key.pem", "--name", "tls", "--data-dir", "data"])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("tls={peer}")])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, certificate, url, _dir: dir })
    }

    fn connect(&self, tls: TlsOptions) -> Connect {
        Connect::new([self.url.as_str()]).options(ConnectOptions::new().with_tls(tls))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn connected(connect: Connect) -> etcd_keys::Connection {
    let began = Instant::now();
    loop {
        match connect.clone().connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_trusted_certificate_lets_us_in_and_no_other() -> Result<(), Error> {
    let Some(etcd) = Etcd::start() else {
        let _ = writeln!(std::io::stderr(), "skipped: TLS: this machine has no openssl");
        return Ok(());
    };
    let trusting = TlsOptions::new().ca_certificate(etcd.certificate.clone());
    let connection = connected(etcd.connect(trusting)).await;
    let keys = connection.keys("/n/")?;
    let revision = keys.put("a", "1").await?.revision;
    assert_eq!(keys.pages(KeyRange::all()).next().await?.unwrap().value, b"1");
    let mut watch = keys.watch("a").from_revision(revision);
    assert!(matches!(watch.recv().await?, Notice::Listed { .. }));
    assert!(matches!(watch.recv().await?, Notice::Event(event) if event.value == b"1"));
    keys.lock("l").await?.release().await?;

    let stranger = etcd.connect(TlsOptions::new()).connect().await.map(drop).unwrap_err();
    assert_eq!(stranger.kind, ErrorKind::Unreachable, "{stranger}");
    let plain = Connect::new([etcd.url.replace("https", "http")]).connect().await.map(drop).unwrap_err();
    assert_eq!(plain.kind, ErrorKind::Unreachable, "{plain}");
    Ok(())
}
