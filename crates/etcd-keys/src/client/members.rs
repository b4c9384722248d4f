//! The cluster: who its members are, and which of them a connection speaks to.

use crate::client::connect::Connection;
use crate::client::error::{Error, Operation};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, by its own account; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether it only learns, and answers no requests yet.
    pub is_learner: bool,
}

impl Connection {
    /// The cluster's members.
    ///
    /// # Errors
    /// What every call may end in.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let mut client = self.raw();
        let answer = self.call(|| Operation::ListMembers, client.member_list()).await?;
        let members = answer.members().iter().map(|member| Member {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        });
        Ok(members.collect())
    }

    /// Adds endpoints, then removes others, for this connection and its clones. Nothing proves here that an etcd
    /// answers at the new ones.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for what is not an endpoint.
    pub async fn change_endpoints<'a>(
        &self,
        added: impl IntoIterator<Item = &'a str>,
        removed: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let client = self.raw();
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
