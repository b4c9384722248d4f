//! Readiness: whether *our* member answers. A few plain GETs; it starts, stops and decides nothing.
//!
//! A TCP connect proves nothing (a second etcd on a locked data directory accepts, and blocks), and neither
//! does a healthy answer alone (a foreign etcd may have the port). So the peer port is asked for its cluster
//! id first: ours is derived from a random token, so that nobody else has it, and etcd opens its client port
//! before it serves the peer port, so that whoever then answers on the client port is the same member. Where clients
//! speak TLS, the port for metrics, which etcd opens as early, is asked in its place. Where peers do, that port is asked for
//! the member's id, too, which also comes from the token, or from random bits of etcd's: the data says which id is ours.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use etcd_workspace::{ClusterId, Record};
use serde::Deserialize;

use super::http::{self, Answer};
use crate::data::wal;

/// Seconds that an answer may take.
const TIMEOUT: u64 = 2;

/// Where a member is asked who it is, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it answers us in plain HTTP.
    pub(crate) plain_url: String,
    pub(crate) peer_url: String,
    pub(crate) data_dir: PathBuf,
}

/// What a member's ports say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Our member serves linearizable reads.
    Ready { cluster_id: ClusterId, version: String },
    /// It may be on its way.
    NotYet(String),
    /// A member of another cluster answers on our peer port.
    Foreign(ClusterId),
}

impl Target {
    /// The member that a record names.
    pub(crate) fn recorded(record: &Record) -> Option<Self> {
        let Record { metrics_url, endpoints, peer_url, data_dir, .. } = record;
        let plain_url = metrics_url.as_ref().or(endpoints.first())?.clone();
        Some(Self { plain_url, peer_url: peer_url.clone(), data_dir: data_dir.clone() })
    }

    /// Asks once. Without an `expected` id (data that we did not create) any member on its ports will do.
    pub(crate) fn probe(&self, expected: Option<ClusterId>) -> Probe {
        self.ask(expected).unwrap_or_else(Probe::NotYet)
    }

    fn ask(&self, expected: Option<ClusterId>) -> Result<Probe, String> {
        let cluster_id = self.cluster_id()?;
        if expected.is_some_and(|expected| expected != cluster_id) {
            return Ok(Probe::Foreign(cluster_id));
        }
        // An alarm for lack of space is no reason to call a server absent: the cure goes through its API.
        let health = get(&format!("{}/health?exclude=NOSPACE", self.plain_url))?;
        let health: Health = serde_json::from_slice(&health.body).map_err(|_| "`/health` is not JSON")?;
        if health.health != "true" {
            return Ok(Probe::NotYet(format!("not healthy: {}", health.reason.unwrap_or_default())));
        }
        Ok(Probe::Ready { cluster_id, version: self.server_version()? })
    }

    /// The cluster of whatever etcd answers there.
    pub(crate) fn cluster_id(&self) -> Result<ClusterId, String> {
        if is_encrypted(&self.peer_url) {
            return self.cluster_of_data();
        }
        let members = get(&format!("{}/members", self.peer_url))?;
        let header = members.header("x-etcd-cluster-id").ok_or("the peer port answers, but not as etcd does")?;
        Ok(header.parse().map_err(|_| "the peer port answers with an invalid cluster id")?)
    }

    /// The cluster that the data is of, if the member whose data it is answers.
    fn cluster_of_data(&self) -> Result<ClusterId, String> {
        let id = self.metric("etcd_server_id", "server_id")?;
        let owner = wal::owner(&self.data_dir).map_err(|error| format!("cannot tell whose data it is: {error}"))?;
        match u64::from_str_radix(&id, 16) == Ok(owner.member) {
            true => Ok(owner.cluster),
            false => Err(format!("member {id}, which is not ours, answers on {}", self.plain_url)),
        }
    }

    /// The version of whatever etcd answers there.
    pub(crate) fn server_version(&self) -> Result<String, String> {
        match is_encrypted(&self.peer_url) {
            true => self.metric("etcd_server_version", "server_version"),
            false => server_version(&self.peer_url),
        }
    }

    /// The only label of a metric.
    fn metric(&self, name: &str, label: &str) -> Result<String, String> {
        let url = format!("{}/metrics", self.plain_url);
        let text = String::from_utf8_lossy(&get(&url)?.body).into_owned();
        let value = text.lines().find_map(|line| {
            line.strip_prefix(name)?.strip_prefix('{')?.strip_prefix(label)?.strip_prefix("=\"")?.split_once('"')
        });
        value.map(|(value, _)| value.to_owned()).ok_or_else(|| format!("{url}: there is no `{name}`"))
    }

    /// Where the member listens, if it is ours.
    pub(crate) fn listens_at(&self) -> &str {
        if is_encrypted(&self.peer_url) { &self.plain_url } else { &self.peer_url }
    }
}

pub(super) fn is_encrypted(url: &str) -> bool {
    url.starts_with("https://")
}

/// The version of whatever etcd answers on a peer URL, or on a client URL without TLS.
pub(crate) fn server_version(url: &str) -> Result<String, String> {
    let response = get(&format!("{url}/version"))?;
    let version: Version = serde_json::from_slice(&response.body).map_err(|_| "`/version` is not etcd's")?;
    Ok(version.etcdserver)
}

/// The same, for a message that can do without: whoever is silent is not waited for.
pub(crate) fn server_version_soon(url: &str) -> Option<String> {
    const SOON: Duration = Duration::from_millis(500);
    let url = url.to_owned();
    let (answer, answered) = channel();
    let ask = move || drop(answer.send(server_version(&url)));
    std::thread::Builder::new().name("etcd-version".to_owned()).spawn(ask).ok()?;
    answered.recv_timeout(SOON).ok()?.ok()
}

fn get(url: &str) -> Result<Answer, String> {
    http::get(url, TIMEOUT)
}

#[derive(Deserialize)]
struct Health {
    health: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    etcdserver: String,
}
