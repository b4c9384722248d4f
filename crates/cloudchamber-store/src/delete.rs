//! Deleting records: by key, or all below a prefix. Nothing outside of the store's namespace is ever deleted here.

use std::collections::BTreeSet;

use etcd_keys::kv::{Delete, OpResponse, Txn};

use crate::condition::{Condition, Expect};
use crate::error::{Error, Failure};
use crate::key::{Key, Prefix};
use crate::record::Answer;
use crate::store::{Store, current_revision};
use crate::transaction::{MAX_OPERATIONS, Previous, Transaction};

/// What became of the records below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixDeleted {
    /// How many records are deleted.
    pub deleted: u64,
    /// How many records others changed or deleted meanwhile. Changed records stay.
    pub kept: u64,
}

impl Store {
    /// Deletes a record; returns whether the record existed. If the record must exist, use
    /// [`Transaction::delete`](crate::Transaction::delete) with [`Condition::Required`](crate::Condition::Required).
    ///
    /// # Errors
    /// With [`Expect::Revision`], [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) and
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
    pub async fn delete(&self, key: &Key, expect: Expect) -> Result<Answer<bool>, Error> {
        let transaction = Transaction::new().delete(key, expect.or(Condition::None));
        let committed = self.commit_with(&transaction, Previous::Returned).await?;
        Ok(Answer { value: !committed.found.is_empty(), revision: committed.revision })
    }

    /// Deletes any number of records, in chunks; returns how many existed. Not all or none: after an error, some
    /// records may be deleted.
    ///
    /// # Errors
    /// If etcd refuses or does not answer.
    pub async fn delete_many(&self, keys: impl IntoIterator<Item = Key>) -> Result<Answer<u64>, Error> {
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let outcome = self.try_delete_many(&wanted).await;
        self.finish(format_args!("delete {} keys", wanted.len()), outcome)
    }

    async fn try_delete_many(&self, wanted: &BTreeSet<Key>) -> Result<Answer<u64>, Failure> {
        let keys = self.keys()?;
        let wanted: Vec<&Key> = wanted.iter().collect();
        let (mut deleted, mut revision) = (0, 0);
        for chunk in wanted.chunks(MAX_OPERATIONS) {
            let txn = chunk.iter().fold(Txn::new(), |txn, key| txn.then(Delete::key(key.as_str())));
            let response = keys.send(txn).await?;
            revision = response.revision;
            let counts = response.responses.iter().map(|response| match response {
                OpResponse::Delete(response) => u64::try_from(response.deleted).unwrap_or(0),
                _ => 0,
            });
            deleted += counts.sum::<u64>();
        }
        if wanted.is_empty() {
            revision = current_revision(&keys).await?;
        }
        Ok(Answer { value: deleted, revision })
    }

    /// Deletes several records at their revisions, all or none. Returns the revision of the deletion.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) and [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), for
    /// the first key that is not as expected; [`ErrorKind::TooManyKeys`](crate::ErrorKind::TooManyKeys).
    pub async fn delete_many_at(&self, records: impl IntoIterator<Item = (Key, i64)>) -> Result<i64, Error> {
        let delete = |txn: Transaction, (key, revision)| txn.delete(&key, Condition::RevisionEqual(revision));
        let transaction = records.into_iter().fold(Transaction::new(), delete);
        Ok(self.commit_with(&transaction, Previous::Omitted).await?.revision)
    }

    /// Deletes all records below a prefix, in chunks so small that other clients hardly wait. Records that are written
    /// meanwhile stay. Not all or none: after an error, some records may be deleted, and the same call deletes the rest.
    ///
    /// # Errors
    /// If etcd refuses or does not answer.
    pub async fn delete_prefix(&self, prefix: &Prefix) -> Result<Answer<PrefixDeleted>, Error> {
        let outcome = self.try_delete_prefix(prefix).await;
        self.finish(format_args!("delete all below `{prefix}`"), outcome)
    }

    async fn try_delete_prefix(&self, prefix: &Prefix) -> Result<Answer<PrefixDeleted>, Failure> {
        let mut deletion = self.keys()?.preview_delete(prefix.to_etcd()).await?.into_deletion();
        let progress = deletion.run(|_| {}).await?;
        let value = PrefixDeleted { deleted: progress.deleted, kept: progress.kept };
        Ok(Answer { value, revision: deletion.revision() })
    }
}
