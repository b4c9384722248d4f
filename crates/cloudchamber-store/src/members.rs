//! The cluster: who its members are, and which of them the store speaks to.

use std::collections::BTreeSet;

use etcd_keys::{Connect, Keys, Operation};

use crate::fault::Fault;
use crate::record::Answer;
use crate::store::{Session, Store, current_revision};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Why the members are not known, or not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// No member tells a URL for clients.
    #[error("no member of the cluster tells a client URL (`--advertise-client-urls`); the endpoints stay as they are")]
    NoUrls,
    /// None of the URLs that the members tell leads to an etcd from here.
    #[error("the members' client URLs {} lead nowhere from here; the endpoints stay as they are", urls.join(","))]
    Unreachable {
        /// What the members tell.
        urls: Vec<String>,
        /// What happened when it was tried.
        #[source]
        source: Fault,
    },
    /// The cluster could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// The cluster's members.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn members(&self) -> Result<Answer<Vec<Member>>, MembersError> {
        let outcome = members(&self.keys()?).await;
        self.trace().done("list the members", outcome.as_ref().map(|answer| answer.revision));
        Ok(outcome?)
    }

    /// From now on speaks to the members that the cluster has, at the URLs that they tell, once one of those has
    /// answered; watches, too. Answers the URLs.
    ///
    /// # Errors
    /// [`MembersError::NoUrls`] and [`MembersError::Unreachable`]: the endpoints are then what they were.
    pub async fn refresh_endpoints(&self) -> Result<Answer<Vec<String>>, MembersError> {
        let _one_at_a_time = self.refreshing().lock().await;
        let members = self.members().await?;
        let voters = members.value.iter().filter(|member| !member.is_learner);
        let urls: BTreeSet<String> = voters.flat_map(|member| member.client_urls.clone()).collect();
        let urls: Vec<String> = urls.into_iter().collect();
        if urls.is_empty() {
            return Err(MembersError::NoUrls);
        }
        let session = self.session()?;
        if urls != session.endpoints {
            session.exchange_endpoints(&urls).await?;
            self.set_endpoints(&urls);
        }
        self.trace().done(format_args!("use the endpoints {}", urls.join(",")), Ok::<_, &Fault>(members.revision));
        Ok(Answer { value: urls, revision: members.revision })
    }
}

async fn members(keys: &Keys) -> Result<Answer<Vec<Member>>, Fault> {
    let connection = keys.connection();
    let mut client = connection.raw();
    let list = connection.call(|| Operation::Other("list the members"), client.member_list());
    let list = list.await.map_err(Fault::of("list the members"))?;
    let members = list.members().iter().map(|member| Member {
        id: member.id(),
        name: member.name().to_owned(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        is_learner: member.is_learner(),
    });
    let value = members.collect();
    // What lists members knows no revision.
    Ok(Answer { value, revision: current_revision(keys).await? })
}

impl Session {
    async fn exchange_endpoints(&self, urls: &[String]) -> Result<(), MembersError> {
        let unreachable = |error| MembersError::Unreachable { urls: urls.to_vec(), source: error };
        let connection = self.keys.connection();
        let proof = Connect::new(urls).connect_timeout(self.connect_timeout).connect();
        proof.await.map_err(|error| unreachable(Fault::of("connect")(error)))?;
        let client = connection.raw();
        let operation = || Operation::Other("exchange the endpoints");
        let exchange = async {
            for new in urls.iter().filter(|url| !self.endpoints.contains(url)) {
                client.add_endpoint(new).await?;
            }
            for old in self.endpoints.iter().filter(|url| !urls.contains(url)) {
                client.remove_endpoint(old).await?;
            }
            Ok(())
        };
        Ok(connection.call(operation, exchange).await.map_err(Fault::of("exchange the endpoints"))?)
    }
}
