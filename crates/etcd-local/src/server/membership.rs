//! The list of a cluster's members, and its changes. By etcd's JSON gateway, unless somebody else asks etcd for us. Which change
//! is wanted, its caller decides.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::health::{Gateway, HealthError, needs_user, number};
use crate::wait::{Deadline, until_every};

/// Seconds that an answer may take.
const TIMEOUT: u64 = 10;

/// Lists and changes the members of a cluster: [`ByGateway`], or a program that can do it where clients speak TLS or are users.
pub trait Membership: Send + Sync {
    /// The members, by the member at this client URL.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    fn list(&self, endpoint: &str) -> Result<Vec<ListedMember>, HealthError>;

    /// Has the cluster forget a member.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    fn remove(&self, endpoint: &str, id: u64) -> Result<(), HealthError>;

    /// Has the cluster expect a new member, or a learner, at this URL for other members.
    ///
    /// # Errors
    /// If it does not answer, or refuses.
    fn add(&self, endpoint: &str, peer_url: &str, is_learner: bool) -> Result<(), HealthError>;
}

/// A member as the cluster lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedMember {
    /// Its id.
    #[serde(rename = "ID", deserialize_with = "number")]
    pub id: u64,
    /// Its URLs for other members.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
}

/// Etcd's JSON gateway, in plain HTTP and without a user.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByGateway;

#[derive(Deserialize)]
struct Members {
    members: Vec<ListedMember>,
}

impl Membership for ByGateway {
    fn list(&self, endpoint: &str) -> Result<Vec<ListedMember>, HealthError> {
        // Then it would be listed, but not changed.
        if needs_user(endpoint)? {
            return Err(HealthError::NeedsUser(endpoint.to_owned()));
        }
        let gateway = Gateway { endpoint, token: None };
        let Members { members } = gateway.parse(gateway.ask("cluster/member/list", "{}", TIMEOUT)?)?;
        Ok(members)
    }

    fn remove(&self, endpoint: &str, id: u64) -> Result<(), HealthError> {
        let body = json!({ "ID": id.to_string() }).to_string();
        Gateway { endpoint, token: None }.ask("cluster/member/remove", &body, TIMEOUT).map(drop)
    }

    fn add(&self, endpoint: &str, peer_url: &str, is_learner: bool) -> Result<(), HealthError> {
        let body = json!({ "peerURLs": [peer_url], "isLearner": is_learner }).to_string();
        Gateway { endpoint, token: None }.ask("cluster/member/add", &body, TIMEOUT).map(drop)
    }
}

/// etcd changes its members only when they have been connected for five seconds: `HealthInterval` in its etcdserver package.
const NOT_CONNECTED: &str = "unhealthy cluster";

/// Has the cluster forget a member, as soon as etcd allows that.
pub(crate) fn remove(by: &dyn Membership, endpoint: &str, id: u64) -> Result<(), HealthError> {
    when_allowed(&[NOT_CONNECTED], || by.remove(endpoint, id))
}

/// Has the cluster expect a new member, which is started afterwards, as soon as etcd allows that. Returns the URLs of all members: an
/// only member serves nobody until the second one runs.
pub(crate) fn add(
    by: &dyn Membership,
    endpoint: &str,
    peer_url: &str,
    is_learner: bool,
) -> Result<Vec<String>, HealthError> {
    /// The new member's id follows from its URL and the second, and no id comes back that was removed.
    const ID_WAS_REMOVED: &str = "member not found";
    let mut urls: Vec<String> = by.list(endpoint)?.into_iter().flat_map(|listed| listed.peer_urls).collect();
    when_allowed(&[NOT_CONNECTED, ID_WAS_REMOVED], || by.add(endpoint, peer_url, is_learner))?;
    urls.push(peer_url.to_owned());
    Ok(urls)
}

/// Asks again while etcd refuses for a reason that passes. To ask may take a process that speaks TLS with etcd, and the wait
/// seconds.
fn when_allowed(passing: &[&str], ask: impl Fn() -> Result<(), HealthError>) -> Result<(), HealthError> {
    const WAIT: Duration = Duration::from_secs(20);
    const PAUSE: Duration = Duration::from_millis(250);
    let deadline = Deadline::after(WAIT);
    let passes = |message: &str| passing.iter().any(|reason| message.contains(reason)) && !deadline.expired();
    let changed = until_every(PAUSE, deadline, || match ask() {
        Err(HealthError::Refused { message, .. }) if passes(&message) => Ok(None),
        answer => answer.map(Some),
    })?;
    // The last look gives an answer.
    changed.ok_or_else(|| HealthError::NoAnswer(NOT_CONNECTED.to_owned()))
}
