//! The members of the cluster, and the endpoints that a connection uses.

use etcd_client::MemberAddOptions;

use crate::client::connect::Connection;
use crate::client::error::{Error, Operation};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The member's id.
    pub id: u64,
    /// The member's name; empty until it has started.
    pub name: String,
    /// The URLs for other members.
    pub peer_urls: Vec<String>,
    /// The URLs for clients that the member advertises; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether the member is a learner: it does not vote yet.
    pub is_learner: bool,
}

impl Member {
    fn new(member: &etcd_client::Member) -> Self {
        Self {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        }
    }
}

impl Connection {
    /// The cluster's members.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let mut client = self.client();
        let answer = self.call(|| Operation::ListMembers, client.member_list()).await?;
        Ok(answer.members().iter().map(Member::new).collect())
    }

    /// Has the cluster expect a new member, which is started afterwards. A learner gets all keys, and does not vote until it
    /// is promoted.
    ///
    /// # Errors
    /// The errors of every request; etcd refuses while its members have not all been connected for some seconds.
    pub async fn add_member(&self, peer_url: &str, is_learner: bool) -> Result<Option<Member>, Error> {
        let options = is_learner.then(|| MemberAddOptions::new().with_is_learner());
        let mut client = self.client();
        let operation = || Operation::Member("add", peer_url.to_owned());
        let answer = self.call(operation, client.member_add([peer_url], options)).await?;
        Ok(answer.member().map(Member::new))
    }

    /// Has the cluster forget a member, whose server then ends.
    ///
    /// # Errors
    /// The errors of every request; etcd refuses what would leave it without a quorum.
    pub async fn remove_member(&self, id: u64) -> Result<(), Error> {
        let mut client = self.client();
        self.call(|| Operation::Member("remove", format!("{id:016x}")), client.member_remove(id)).await.map(drop)
    }

    /// Has a learner vote from now on.
    ///
    /// # Errors
    /// The errors of every request; etcd refuses until the learner has nearly all that the leader has.
    pub async fn promote_member(&self, id: u64) -> Result<(), Error> {
        let mut client = self.client();
        self.call(|| Operation::Member("promote", format!("{id:016x}")), client.member_promote(id)).await.map(drop)
    }

    /// Whether the member that answers knows of a leader: then it serves.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn has_leader(&self) -> Result<bool, Error> {
        let mut client = self.client();
        Ok(self.call(|| Operation::ListMembers, client.status()).await?.leader() != 0)
    }

    /// Adds endpoints, then removes endpoints, for this connection and its clones. Does not check that an etcd answers at the
    /// new endpoints.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an endpoint that is not valid.
    pub async fn change_endpoints<'a>(
        &self,
        added: impl IntoIterator<Item = &'a str>,
        removed: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let url = |endpoint| self.prepare_endpoint(endpoint);
        let added = added.into_iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let removed = removed.into_iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let client = self.client();
        let change = async {
            for endpoint in added {
                client.add_endpoint(endpoint).await?;
            }
            for endpoint in removed {
                client.remove_endpoint(endpoint).await?;
            }
            Ok(())
        };
        self.call(|| Operation::ChangeEndpoints, change).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_member_can_take_over_once_its_endpoint_was_added() {
        let connection = Connection::to_nobody().await;
        let reads = async || connection.all_keys().get("a").await.unwrap_err();
        reads().await;
        assert!(!connection.has_other_members());
        connection.change_endpoints(["http://127.0.0.1:2"], []).await.unwrap();
        reads().await;
        assert!(connection.has_other_members());
        connection.change_endpoints([], ["http://127.0.0.1:1"]).await.unwrap();
        reads().await;
        assert!(!connection.has_other_members());
    }
}
