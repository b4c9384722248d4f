//! Which member leads, as each one knows it, and handing the leadership over. By etcd's JSON gateway; it decides nothing.

use etcd_workspace::ClusterId;
use serde::Deserialize;

use super::health::{Gateway, HealthError, number};
use super::http;
use super::users::Root;

/// Seconds that an answer may take; a handover ends in half an election timeout or fails.
const TIMEOUT: u64 = 2;

/// What a member knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) cluster: ClusterId,
    pub(crate) member: u64,
    /// The member that leads; 0: it knows of none.
    pub(crate) leader: u64,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    #[serde(deserialize_with = "number", default)]
    leader: u64,
}

#[derive(Deserialize)]
struct Header {
    #[serde(deserialize_with = "number")]
    cluster_id: u64,
    #[serde(deserialize_with = "number")]
    member_id: u64,
}

/// Whether the member that tells of its health at this URL leads. A member says so also to those who have no certificate
/// and no user. One that does not answer does not lead.
pub(crate) fn leads(health_url: &str) -> bool {
    let metrics = http::get(&format!("{health_url}/metrics"), TIMEOUT).ok();
    metrics
        .is_some_and(|metrics| metrics.body.split(|byte| *byte == b'\n').any(|line| line == b"etcd_server_is_leader 1"))
}

/// Asks the member at a client URL.
pub(crate) fn view(endpoint: &str, root: Option<&Root>) -> Result<View, HealthError> {
    let answer = Root::ask(root, endpoint, "maintenance/status", "{}", TIMEOUT)?;
    let Status { header, leader } = Gateway { endpoint, token: None }.parse(answer)?;
    Ok(View { cluster: ClusterId(header.cluster_id), member: header.member_id, leader })
}

/// Has the leader, which is at this client URL, hand the leadership over to another member.
pub(crate) fn transfer(endpoint: &str, root: Option<&Root>, to: u64) -> Result<(), HealthError> {
    let call = format!(r#"{{"targetID":"{to}"}}"#);
    Root::ask(root, endpoint, "maintenance/transfer-leadership", &call, TIMEOUT).map(drop)
}
