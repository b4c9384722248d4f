//! Readiness: whether *our* member answers. Two plain GETs; it starts, stops and decides nothing.
//!
//! A TCP connect proves nothing (a second etcd on a locked data directory accepts, and blocks), and neither
//! does a healthy answer alone (a foreign etcd may have the port). So the peer port is asked for its cluster
//! id first: ours is derived from a random token, so that nobody else has it, and etcd opens its client port
//! before it serves the peer port, so that whoever then answers on the client port is the same member. Where clients
//! speak TLS, the port for metrics, which etcd opens as early, is asked in its place.

use std::sync::mpsc::channel;
use std::time::Duration;

use etcd_workspace::ClusterId;
use serde::Deserialize;

use super::http::{self, Answer};

/// Seconds that an answer may take.
const TIMEOUT: u64 = 2;

/// What the two ports say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Our member serves linearizable reads.
    Ready { cluster_id: ClusterId, version: String },
    /// It may be on its way.
    NotYet(String),
    /// A member of another cluster answers on our peer port.
    Foreign(ClusterId),
}

/// Asks once. Without an `expected` id (data that we did not create) any member on the peer port will do.
pub(crate) fn probe(health_url: &str, peer_url: &str, expected: Option<ClusterId>) -> Probe {
    match ask(health_url, peer_url, expected) {
        Ok(probe) => probe,
        Err(reason) => Probe::NotYet(reason),
    }
}

fn ask(health_url: &str, peer_url: &str, expected: Option<ClusterId>) -> Result<Probe, String> {
    let cluster_id = cluster_id(peer_url)?;
    if expected.is_some_and(|expected| expected != cluster_id) {
        return Ok(Probe::Foreign(cluster_id));
    }
    // An alarm for lack of space is no reason to call a server absent: the cure goes through its API.
    let health = get(&format!("{health_url}/health?exclude=NOSPACE"))?;
    let health: Health = serde_json::from_slice(&health.body).map_err(|_| "`/health` is not JSON")?;
    if health.health != "true" {
        return Ok(Probe::NotYet(format!("not healthy: {}", health.reason.unwrap_or_default())));
    }
    Ok(Probe::Ready { cluster_id, version: server_version(peer_url)? })
}

/// The cluster of whatever etcd answers on a peer URL.
pub(crate) fn cluster_id(peer_url: &str) -> Result<ClusterId, String> {
    let members = get(&format!("{peer_url}/members"))?;
    let header = members.header("x-etcd-cluster-id").ok_or("the peer port answers, but not as etcd does")?;
    Ok(header.parse().map_err(|_| "the peer port answers with an invalid cluster id")?)
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
