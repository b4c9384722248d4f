//! Etcds that speak TLS, and the certificates of a CA of our own. Started by hand: what the product starts is not needed
//! to test how others' clusters are reached.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::version::Etcd;
use crate::wait::eventually;

/// A CA that nobody trusts by itself.
pub struct Ca {
    /// Its certificate, in PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub enum Validity {
    /// It is.
    Now,
    /// Until the year 2001.
    Past,
    /// From the year 4000 on.
    Future,
    /// For so long from now on, and from long ago.
    For(Duration),
}

impl Ca {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a CA for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for hosts (names or addresses), whose common name is a user's for etcd.
    ///
    /// # Panics
    ///
    /// If a host cannot be in a certificate.
    #[must_use]
    pub fn sign(&self, hosts: &[&str], user: &str, validity: Validity) -> Identity {
        let mut params = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        match validity {
            Validity::Now => {}
            Validity::Past => params.not_after = date_time_ymd(2001, 1, 1),
            Validity::Future => params.not_before = date_time_ymd(4000, 1, 1),
            Validity::For(time) => params.not_after = (SystemTime::now() + time).into(),
        }
        if matches!(validity, Validity::Past) {
            params.not_before = date_time_ymd(2000, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

/// An etcd whose clients reach it by TLS. It goes with this value, or with the process.
pub struct Secure {
    /// Where it listens, with `https`.
    pub url: String,
    /// Where it listens for plain text, to prepare it.
    pub plain: String,
    process: Child,
    dir: TempDir,
}

impl Secure {
    /// Starts one with this certificate. Where clients must show one, too, it is of `ca`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(etcd: Etcd, ca: &Ca, server: &Identity, wants_client_certificates: bool) -> Self {
        Self::start_at("127.0.0.1", etcd, ca, server, wants_client_certificates)
    }

    /// The same at this address; an IPv6 address is in brackets.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start_at(host: &str, etcd: Etcd, ca: &Ca, server: &Identity, wants_client_certificates: bool) -> Self {
        let program = etcd.program();
        let dir = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        crate::leftovers::remove_if_killed(dir.path());
        let file = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let (certificate, key) = (file("cert.pem", &server.certificate), file("key.pem", &server.key));
        let ca = file("ca.pem", &ca.pem);
        // Another process may take a port before etcd does.
        for _ in 0..5 {
            let ports = [(); 3].map(|()| TcpListener::bind(format!("{host}:0")).unwrap());
            let [client, plain, peer] = ports.map(|port| port.local_addr().unwrap());
            let (url, plain, peer) = (format!("https://{client}"), format!("http://{plain}"), format!("http://{peer}"));
            let mut command = Command::new(&program);
            command.arg("--data-dir").arg(dir.path().join("data")).args(["--name", "tls"]);
            command.arg("--cert-file").arg(&certificate).arg("--key-file").arg(&key);
            let both = format!("{url},{plain}");
            command.args(["--listen-client-urls", &both, "--advertise-client-urls", &both]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &format!("tls={peer}"), "--heartbeat-interval", "10"]);
            // Hashing a password takes 70 ms by default, and many clients at once wait for each other.
            command.args(["--election-timeout", "100", "--bcrypt-cost", "4"]);
            if wants_client_certificates {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&ca);
            }
            let log = fs::File::create(dir.path().join("log")).unwrap();
            let mut process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
            let is_ready =
                || fs::read_to_string(dir.path().join("log")).unwrap().contains("ready to serve client requests");
            if eventually(|| is_ready() || process.try_wait().unwrap().is_some())
                && process.try_wait().unwrap().is_none()
            {
                return Self { url, plain, process, dir };
            }
            drop(process.kill().and_then(|()| process.wait()));
        }
        panic!("etcd does not start: {}", fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// A directory for files of the test's.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}
