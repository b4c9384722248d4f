//! The cluster: its members, and which of them the store uses.

use std::collections::BTreeSet;

pub use etcd_keys::Member;
use etcd_keys::{Connect, Keys};

use crate::error::{Error, ErrorKind, Failure};
use crate::record::Answer;
use crate::store::{Session, Store, current_revision};

impl Store {
    /// The cluster's members.
    ///
    /// # Errors
    /// If etcd refuses or does not answer.
    pub async fn members(&self) -> Result<Answer<Vec<Member>>, Error> {
        let outcome = self.try_members().await;
        self.finish("list the members", outcome)
    }

    async fn try_members(&self) -> Result<Answer<Vec<Member>>, Failure> {
        members(&self.keys()?).await
    }

    /// Uses the client URLs that the cluster's members advertise as endpoints from now on, for watches too, once one of
    /// these URLs has answered. Returns the URLs.
    ///
    /// # Errors
    /// If etcd refuses or does not answer, or [`ErrorKind::NoClientUrls`]. The endpoints then stay the same.
    pub async fn refresh_endpoints(&self) -> Result<Answer<Vec<String>>, Error> {
        let _one_at_a_time = self.refreshing().lock().await;
        let outcome = self.try_refresh_endpoints().await;
        self.finish("use the client URLs that the members advertise", outcome)
    }

    async fn try_refresh_endpoints(&self) -> Result<Answer<Vec<String>>, Failure> {
        let session = self.session()?;
        let members = members(&session.keys).await?;
        let voters = members.value.iter().filter(|member| !member.is_learner);
        let urls: BTreeSet<String> = voters.flat_map(|member| member.client_urls.clone()).collect();
        let urls: Vec<String> = urls.into_iter().collect();
        if urls.is_empty() {
            return Err(ErrorKind::NoClientUrls.into());
        }
        if urls != session.endpoints {
            session.exchange_endpoints(&urls).await?;
            self.set_endpoints(&urls);
        }
        Ok(Answer { value: urls, revision: members.revision })
    }
}

async fn members(keys: &Keys) -> Result<Answer<Vec<Member>>, Failure> {
    let value = keys.connection().members().await?;
    // The list of members comes without a revision.
    Ok(Answer { value, revision: current_revision(keys).await? })
}

impl Session {
    async fn exchange_endpoints(&self, urls: &[String]) -> Result<(), Failure> {
        let connection = self.keys.connection();
        // One of the URLs must answer before any endpoint is exchanged.
        self.security.apply(Connect::new(urls)).connect_timeout(self.connect_timeout).connect().await?;
        let added = urls.iter().filter(|url| !self.endpoints.contains(url)).map(String::as_str);
        let removed = self.endpoints.iter().filter(|url| !urls.contains(url)).map(String::as_str);
        Ok(connection.change_endpoints(added, removed).await?)
    }
}
