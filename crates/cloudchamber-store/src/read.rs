//! Reading records by key.

use std::collections::{BTreeMap, BTreeSet};

use etcd_keys::kv::{Get, OpResponse, Txn};

use crate::error::{Error, Failure};
use crate::key::Key;
use crate::record::{Answer, Record};
use crate::store::{Store, current_revision};
use crate::transaction::MAX_OPERATIONS;

impl Store {
    /// Reads a record; `None`: there is none. If the record must exist, use
    /// [`Transaction::read`](crate::Transaction::read) with [`Condition::Required`](crate::Condition::Required).
    ///
    /// # Errors
    /// If etcd refuses or does not answer.
    pub async fn read(&self, key: &Key) -> Result<Answer<Option<Record>>, Error> {
        let outcome = self.try_read(key).await;
        if let Ok(Answer { value: Some(record), .. }) = &outcome {
            self.trace().value("read", key, &record.value);
        }
        self.finish(format_args!("read `{key}`"), outcome)
    }

    async fn try_read(&self, key: &Key) -> Result<Answer<Option<Record>>, Failure> {
        let found = self.keys()?.send(Get::key(key.as_str())).await?;
        let value = found.kvs.into_iter().next().map(Record::from_etcd).transpose()?;
        Ok(Answer { value, revision: found.revision })
    }

    /// Reads any number of records, in chunks, all as of one revision. Keys that do not exist are left out.
    ///
    /// # Errors
    /// If etcd refuses or does not answer, or if that revision is compacted before the last chunk is read.
    pub async fn read_many(&self, keys: impl IntoIterator<Item = Key>) -> Result<Answer<BTreeMap<Key, Record>>, Error> {
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let outcome = self.try_read_many(&wanted).await;
        self.finish(format_args!("read {} keys", wanted.len()), outcome)
    }

    async fn try_read_many(&self, wanted: &BTreeSet<Key>) -> Result<Answer<BTreeMap<Key, Record>>, Failure> {
        let keys = self.keys()?;
        let wanted: Vec<&Key> = wanted.iter().collect();
        let mut found = BTreeMap::new();
        let mut revision = 0; // for etcd: the current one
        for chunk in wanted.chunks(MAX_OPERATIONS) {
            let get = |txn: Txn, key: &&Key| txn.then(Get::key(key.as_str()).revision(revision));
            let response = keys.send(chunk.iter().fold(Txn::new(), get)).await?;
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
            revision = current_revision(&keys).await?;
        }
        Ok(Answer { value: found, revision })
    }
}
