//! The list of a cluster's members, and its changes, by etcd's JSON gateway. Which change is wanted, its caller decides.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::health::{Gateway, HealthError, number};
use crate::wait::{Deadline, until};

/// Seconds that an answer may take.
const TIMEOUT: u64 = 10;

/// A member as the cluster lists it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Listed {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(crate) id: u64,
    #[serde(rename = "peerURLs", default)]
    pub(crate) peer_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Listed>,
}

/// Asks the member at a client URL.
pub(crate) fn list(endpoint: &str) -> Result<Vec<Listed>, HealthError> {
    let gateway = Gateway { endpoint, token: None };
    let Members { members } = gateway.parse(gateway.ask("cluster/member/list", "{}", TIMEOUT)?)?;
    Ok(members)
}

/// Has the cluster forget a member.
pub(crate) fn remove(endpoint: &str, id: u64) -> Result<(), HealthError> {
    change(endpoint, "cluster/member/remove", &json!({ "ID": id.to_string() }).to_string(), &[NOT_CONNECTED])
}

/// Has the cluster expect a new member, which is started afterwards.
pub(crate) fn add(endpoint: &str, peer_url: &str) -> Result<(), HealthError> {
    /// The new member's id follows from its URL and the second, and no id comes back that was removed.
    const ID_WAS_REMOVED: &str = "member not found";
    let body = json!({ "peerURLs": [peer_url] }).to_string();
    change(endpoint, "cluster/member/add", &body, &[NOT_CONNECTED, ID_WAS_REMOVED])
}

/// etcd changes its members only when they have been connected for five seconds: `HealthInterval` in its etcdserver package.
const NOT_CONNECTED: &str = "unhealthy cluster";

/// Asks again while etcd refuses for a reason that passes.
fn change(endpoint: &str, call: &'static str, body: &str, passing: &[&str]) -> Result<(), HealthError> {
    const WAIT: Duration = Duration::from_secs(20);
    let deadline = Deadline::after(WAIT);
    let gateway = Gateway { endpoint, token: None };
    let changed = until(deadline, || match gateway.ask(call, body, TIMEOUT) {
        Err(HealthError::Refused { message, .. })
            if passing.iter().any(|reason| message.contains(reason)) && !deadline.expired() =>
        {
            Ok(None)
        }
        answer => answer.map(|_| Some(())),
    })?;
    // The last look gives an answer.
    changed.ok_or_else(|| HealthError::NoAnswer(format!("{endpoint}: {NOT_CONNECTED}")))
}
