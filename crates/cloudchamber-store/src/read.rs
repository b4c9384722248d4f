//! Reading records by key.

use std::collections::{BTreeMap, BTreeSet};

use etcd_keys::Keys;
use etcd_keys::kv::{Get, OpResponse, Txn};

use crate::fault::{Fault, MOST_OPERATIONS};
use crate::key::Key;
use crate::record::{Answer, Record};
use crate::store::{Store, current_revision};

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// Reads a record; `None`: there is none. Where one must be there, [`Transaction::read`](crate::Transaction::read)
    /// with [`Condition::Required`](crate::Condition::Required) says so.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn read(&self, key: &Key) -> Result<Answer<Option<Record>>, ReadError> {
        let outcome = read(&self.keys()?, key).await;
        self.trace().done(format_args!("read `{key}`"), outcome.as_ref().map(|answer| answer.revision));
        if let Ok(Answer { value: Some(record), .. }) = &outcome {
            self.trace().value("read", key, &record.value);
        }
        Ok(outcome?)
    }

    /// Reads any number of records, in chunks, all as of one revision. Those that are not there are left out.
    ///
    /// # Errors
    /// [`Fault`]; also if that revision is compacted before the last chunk is read.
    pub async fn read_many(
        &self,
        keys: impl IntoIterator<Item = Key>,
    ) -> Result<Answer<BTreeMap<Key, Record>>, ReadError> {
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let outcome = read_many(&self.keys()?, &wanted).await;
        let revision = outcome.as_ref().map(|answer| answer.revision);
        self.trace().done(format_args!("read {} keys", wanted.len()), revision);
        Ok(outcome?)
    }
}

async fn read(keys: &Keys, key: &Key) -> Result<Answer<Option<Record>>, Fault> {
    let found = keys.send(Get::new(key.to_etcd())).await.map_err(Fault::of(format_args!("read `{key}`")))?;
    let value = found.kvs.into_iter().next().map(Record::from_etcd).transpose()?;
    Ok(Answer { value, revision: found.revision })
}

async fn read_many(keys: &Keys, wanted: &BTreeSet<Key>) -> Result<Answer<BTreeMap<Key, Record>>, Fault> {
    let wanted: Vec<&Key> = wanted.iter().collect();
    let mut found = BTreeMap::new();
    let mut revision = 0; // for etcd: the current one
    for chunk in wanted.chunks(MOST_OPERATIONS) {
        let get = |txn: Txn, key: &&Key| txn.then(Get::new(key.to_etcd()).revision(revision));
        let txn = chunk.iter().fold(Txn::new(), get);
        let response = keys.send(txn).await.map_err(Fault::of(format_args!("read {} keys", wanted.len())))?;
        if revision == 0 {
            revision = response.revision;
        }
        for response in response.responses {
            if let OpResponse::Get(response) = response {
                for record in response.kvs {
                    let record = Record::from_etcd(record)?;
                    found.insert(record.key.clone(), record);
                }
            }
        }
    }
    if wanted.is_empty() {
        revision = current_revision(keys).await?;
    }
    Ok(Answer { value: found, revision })
}
