//! `doctor`: the clusters of `[workspace.metadata.etcd.clusters]`, as far as files and a TCP connection tell. Whether they let
//! the user in, only a command that uses etcd's API finds out.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use etcd_workspace::{ClientConfig, ClientConfigError, ManifestCluster, ManifestSettings};

use super::Finding;
use crate::certificates;
use crate::context::Context;

const SUBJECT: &str = "cluster";
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same with the time to find its address.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Days before its end at which a certificate is to be renewed.
const SOON: i64 = 30;

/// What a file must contain.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const KEY: &str = "PRIVATE KEY-----";

pub(super) fn check(cx: &Context) -> Vec<Finding> {
    // A manifest that cannot be read has ended `doctor` before.
    let Ok((clusters, dir)) = ManifestSettings::clusters(&cx.manifest()) else { return Vec::new() };
    // All at once: each may take its time.
    let servers: Vec<Servers> = clusters.values().map(Servers::connect).collect();
    let check = |((name, cluster), servers): ((&String, &ManifestCluster), Servers)| {
        let mut findings = files(name, cluster, &dir, cx);
        findings.extend(settings(name, &clusters, &dir, cx));
        findings.extend(servers.finding(name));
        findings
    };
    clusters.iter().zip(servers).flat_map(check).collect()
}

/// What the settings of a cluster lack.
fn settings(name: &str, clusters: &BTreeMap<String, ManifestCluster>, dir: &Path, cx: &Context) -> Option<Finding> {
    let password = cx.env.var("ETCDCTL_PASSWORD").is_some_and(|password| !password.is_empty());
    let error = ClientConfig::named(name, clusters, dir).and_then(|config| config.check()).err()?;
    let remedy = match &error {
        // Another finding names the file.
        ClientConfigError::PasswordFile { .. } => return None,
        ClientConfigError::NoPassword(_) if password => return None,
        ClientConfigError::NoPassword(_) => {
            let remedy = "add `password-file`, or set ETCDCTL_PASSWORD for the commands that use the cluster";
            return Some(Finding::warning(SUBJECT, format!("`{name}`: {error}"), remedy));
        }
        ClientConfigError::HalfCertificate => "set both `cert` and `key`, or neither",
        ClientConfigError::NoEndpoints(_) => "add a line like `endpoints = [\"https://host:2379\"]`",
        _ => "correct `[workspace.metadata.etcd.clusters]` in Cargo.toml",
    };
    let finding = match &error {
        ClientConfigError::NoEndpoints(_) => error.to_string(),
        _ => format!("`{name}`: {error}"),
    };
    Some(Finding::failure(SUBJECT, finding, remedy))
}

/// Files that cannot be used, and secrets that others can read.
fn files(name: &str, cluster: &ManifestCluster, dir: &Path, cx: &Context) -> Vec<Finding> {
    let files = [
        ("cacert", &cluster.cacert, Some((CERTIFICATE, "certificate")), false),
        ("cert", &cluster.cert, Some((CERTIFICATE, "certificate")), false),
        ("key", &cluster.key, Some((KEY, "private key")), true),
        ("password-file", &cluster.password_file, None, true),
    ];
    let check = |(setting, path, content, is_secret): (&str, &Option<PathBuf>, Option<(&str, &str)>, bool)| {
        let path = dir.join(path.as_ref()?);
        let shown = path.display();
        let failure =
            |what: String, remedy: String| Some(Finding::failure(SUBJECT, format!("`{name}`: {what}"), remedy));
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                let remedy = format!("correct `{setting}` of `[workspace.metadata.etcd.clusters.{name}]`, or the file");
                return failure(format!("cannot read `{shown}`, its `{setting}`: {error}"), remedy);
            }
        };
        if let Some((marker, what)) = content.filter(|(marker, _)| !text.contains(marker)) {
            let remedy = format!("`{setting}` must name a file that contains `{marker}`");
            return failure(format!("`{shown}`, its `{setting}`, has no {what} in PEM"), remedy);
        }
        if let Some(days) = certificates::days_left(&path, cx).filter(|days| *days < SOON) {
            let remedy = format!("let `{setting}` name a newer certificate");
            let what = format!("`{shown}`, its `{setting}`,");
            return match days {
                ..0 => failure(format!("{what} has expired"), remedy),
                _ => Some(Finding::warning(SUBJECT, format!("`{name}`: {what} expires in {days} days"), remedy)),
            };
        }
        let mode = is_secret.then(|| others_permissions(&path)).flatten()?;
        let finding = format!("`{name}`: other users may use `{shown}`, its `{setting}` (mode {mode:o})");
        Some(Finding::warning(SUBJECT, finding, format!("`chmod 600 '{shown}'`")))
    };
    files.into_iter().filter_map(check).collect()
}

/// The permissions of a file, if its group or others have any.
#[cfg(unix)]
fn others_permissions(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn others_permissions(_: &Path) -> Option<u32> {
    None
}

/// Connections to the endpoints of a cluster.
struct Servers {
    endpoints: Vec<String>,
    failures: Receiver<Result<(), String>>,
    began: Instant,
}

impl Servers {
    fn connect(cluster: &ManifestCluster) -> Self {
        let endpoints = cluster.endpoints.iter().flat_map(|list| list.split(',')).map(str::trim);
        let endpoints: Vec<String> = endpoints.filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let (send, failures) = channel();
        for endpoint in endpoints.clone() {
            let send = send.clone();
            std::thread::spawn(move || {
                let connected = connect(&endpoint).map_err(|why| format!("`{endpoint}`: {why}"));
                drop(send.send(connected));
            });
        }
        Self { endpoints, failures, began: Instant::now() }
    }

    /// `None`: there is no endpoint.
    fn finding(self, name: &str) -> Option<Finding> {
        let count = self.endpoints.len();
        let (mut answers, mut failures) = (0, Vec::new());
        while answers + failures.len() < count {
            match self.failures.recv_timeout(TIMEOUT.saturating_sub(self.began.elapsed())) {
                Ok(Ok(())) => answers += 1,
                Ok(Err(failure)) => failures.push(failure),
                Err(_) => {
                    failures.resize(count - answers, "no address was found in time".to_owned());
                }
            }
        }
        let remedy = "check `endpoints`, the network, and whether the cluster runs";
        let failed = failures.join("; ");
        Some(match (answers, failures.is_empty()) {
            (0, true) => return None,
            (0, false) => Finding::failure(SUBJECT, format!("`{name}`: nothing listens: {failed}"), remedy),
            (_, false) => {
                Finding::warning(SUBJECT, format!("`{name}`: {answers} of {count} endpoints listen; {failed}"), remedy)
            }
            (_, true) => Finding::ok(SUBJECT, format!("`{name}` listens at {}", self.endpoints.join(","))),
        })
    }
}

fn connect(endpoint: &str) -> Result<(), String> {
    let address = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://")).unwrap_or(endpoint);
    let address = address.trim_end_matches('/');
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if address.contains("://") || address.contains('@') || !has_port {
        return Err("this is not a valid endpoint: it must be like `https://host:2379`".to_owned());
    }
    let addresses = address.to_socket_addrs().map_err(|error| error.to_string())?;
    let mut last = "the host has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
