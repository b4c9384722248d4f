//! Attempts to connect, one for each endpoint of a list, at the same time: the first that succeeds is used, and the others
//! may still say that the list leads to two clusters.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use tokio::task::JoinSet;

use super::failover::{Failover, Members};
use crate::client::error::ErrorKind;

/// How long the other endpoints may take, after the first has answered, to say which cluster they are of, if the first was
/// quicker than that.
const OTHERS_ANSWER: Duration = Duration::from_millis(10);

/// A client that an etcd has answered, its members, and the id of its cluster, if it said so.
pub(super) type Answered = (Client, Members, Option<u64>);

/// Attempts to connect. Each begins with a different endpoint.
pub(super) type Candidates = JoinSet<Result<Answered, etcd_client::Error>>;

/// Connects to the first endpoint of a list that lets us in.
pub(super) async fn connect(
    urls: Vec<String>,
    options: ConnectOptions,
    logs_in: bool,
    (failover, members): (Failover, Members),
) -> Result<Answered, etcd_client::Error> {
    let mut client = Client::connect_with_balanced_channel(&urls, Some(options), failover).await?;
    if logs_in {
        return Ok((client, members, None));
    }
    // One key that is hardly there: any member with a leader answers it, and a denial is an answer too.
    match client.get("\0", None).await {
        Ok(answer) => Ok((client, members, answer.header().map(|header| header.cluster_id()))),
        Err(error) if matches!(ErrorKind::of(&error), ErrorKind::Denied(_)) => Ok((client, members, None)),
        Err(error) => Err(error),
    }
}

/// The first that succeeds, else the failure that says most.
pub(super) async fn first_success(candidates: &mut Candidates) -> Result<Answered, etcd_client::Error> {
    let mut failure: Option<etcd_client::Error> = None;
    while let Some(ended) = candidates.join_next().await {
        match ended {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(error)) if failure.as_ref().is_none_or(|known| ErrorKind::of(known).is_transient()) => {
                failure = Some(error);
            }
            _ => {}
        }
    }
    Err(failure.unwrap_or_else(|| etcd_client::Error::Internal("the runtime has ended".to_owned())))
}

/// The id of another cluster, if one of these says within this time that it is of one. Endpoints that refuse the connection
/// cost no time.
pub(super) async fn other_cluster(candidates: &mut Candidates, first: u64, within: Duration) -> Option<u64> {
    let find = async {
        while let Some(ended) = candidates.join_next().await {
            match ended {
                Ok(Ok((_, _, Some(id)))) if id != first => return Some(id),
                _ => {}
            }
        }
        None
    };
    tokio::time::timeout(within.max(OTHERS_ANSWER), find).await.ok().flatten()
}
