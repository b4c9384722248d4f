//! Deleting records: by key, or all below a prefix. Nothing outside of the store's namespace is ever named here.

use std::collections::BTreeSet;

use etcd_keys::Keys;
use etcd_keys::delete::{Deletion, Preview};
use etcd_keys::kv::{Delete, OpResponse, Txn};

use crate::condition::{Condition, Expect};
use crate::fault::{Fault, MOST_OPERATIONS};
use crate::key::{Key, Prefix};
use crate::record::Answer;
use crate::store::{Store, current_revision};
use crate::transaction::{Before, Failed, Transaction, TransactionError};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// There is no such record, and a revision was expected of it.
    #[error("`{key}` is not there, and was to have revision {expected}; nothing was deleted")]
    Missing {
        /// The key.
        key: Key,
        /// The revision that it was to have.
        expected: i64,
    },
    /// Somebody changed it.
    #[error("`{key}` has revision {found}, not {expected}; nothing was deleted")]
    Conflict {
        /// The key.
        key: Key,
        /// The revision that it was to have.
        expected: i64,
        /// The revision that it has.
        found: i64,
    },
    /// It could not be done. Of a call that is no transaction, some may be deleted.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What became of the records below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixDeleted {
    /// So many are deleted.
    pub deleted: u64,
    /// So many were there at first, and were changed or deleted by others meanwhile. Those that are changed stay.
    pub kept: u64,
}

impl Store {
    /// Deletes a record; whether there was one. Where one must be there,
    /// [`Transaction::delete`](crate::Transaction::delete) with [`Condition::Required`](crate::Condition::Required)
    /// says so.
    ///
    /// # Errors
    /// [`DeleteError::Missing`] and [`DeleteError::Conflict`] with [`Expect::Revision`].
    pub async fn delete(&self, key: &Key, expect: Expect) -> Result<Answer<bool>, DeleteError> {
        let transaction = Transaction::new().delete(key, expect.or(Condition::None));
        match self.commit_with(&transaction, Before::Told).await {
            Ok(committed) => Ok(Answer { value: !committed.found.is_empty(), revision: committed.revision }),
            Err(error) => Err(DeleteError::of(error, |_| expect)),
        }
    }

    /// Deletes any number of records, in chunks; how many there were. Not all or none: what fails, fails in between.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn delete_many(&self, keys: impl IntoIterator<Item = Key>) -> Result<Answer<u64>, DeleteError> {
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        let outcome = delete_many(&self.keys()?, &wanted).await;
        let revision = outcome.as_ref().map(|answer| answer.revision);
        self.trace().done(format_args!("delete {} keys", wanted.len()), revision);
        Ok(outcome?)
    }

    /// Deletes several records at their revisions, all or none. Answers the revision that did.
    ///
    /// # Errors
    /// [`DeleteError::Missing`] and [`DeleteError::Conflict`] with the first key that is not as expected;
    /// [`Fault::TooMany`].
    pub async fn delete_many_at(&self, records: impl IntoIterator<Item = (Key, i64)>) -> Result<i64, DeleteError> {
        let records: Vec<(Key, i64)> = records.into_iter().collect();
        let transaction = records.iter().fold(Transaction::new(), |txn, (key, revision)| {
            txn.delete(key, Expect::Revision(*revision).or(Condition::None))
        });
        let expected = |failed: &Key| {
            let record = records.iter().find(|(key, _)| key == failed);
            Expect::Revision(record.map_or(0, |(_, revision)| *revision))
        };
        match self.commit_with(&transaction, Before::Ignored).await {
            Ok(committed) => Ok(committed.revision),
            Err(error) => Err(DeleteError::of(error, expected)),
        }
    }

    /// Deletes all records below a prefix, in chunks that other clients hardly notice. What is written after it began
    /// stays. Not all or none: what fails, fails in between, and the same call goes on.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn delete_prefix(&self, prefix: &Prefix) -> Result<Answer<PrefixDeleted>, DeleteError> {
        let outcome = delete_prefix(&self.keys()?, prefix).await;
        let words = format_args!("delete all below `{prefix}`");
        self.trace().done(words, outcome.as_ref().map(|answer| answer.revision));
        outcome.map_err(|error| Fault::of(words)(error).into())
    }
}

impl DeleteError {
    pub(crate) fn of(error: TransactionError, expected: impl Fn(&Key) -> Expect) -> Self {
        let Failed { key, found, .. } = match error {
            TransactionError::Failed(failed) => failed,
            TransactionError::Fault(fault) => return Self::Fault(fault),
        };
        let expected = match expected(&key) {
            Expect::Revision(expected) => expected,
            Expect::Any => 0,
        };
        match found {
            Some(found) => Self::Conflict { key, expected, found },
            None => Self::Missing { key, expected },
        }
    }
}

async fn delete_many(keys: &Keys, wanted: &BTreeSet<Key>) -> Result<Answer<u64>, Fault> {
    let wanted: Vec<&Key> = wanted.iter().collect();
    let (mut deleted, mut revision) = (0, 0);
    for chunk in wanted.chunks(MOST_OPERATIONS) {
        let txn = chunk.iter().fold(Txn::new(), |txn, key| txn.then(Delete::new(key.to_etcd())));
        let response = keys.send(txn).await.map_err(Fault::of(format_args!("delete {} keys", wanted.len())))?;
        revision = response.revision;
        let counts = response.responses.iter().map(|response| match response {
            OpResponse::Delete(response) => u64::try_from(response.deleted).unwrap_or(0),
            _ => 0,
        });
        deleted += counts.sum::<u64>();
    }
    if wanted.is_empty() {
        revision = current_revision(keys).await?;
    }
    Ok(Answer { value: deleted, revision })
}

async fn delete_prefix(keys: &Keys, prefix: &Prefix) -> Result<Answer<PrefixDeleted>, etcd_keys::Error> {
    let range = keys.namespace().to_full(&prefix.to_etcd());
    let preview = Preview::of(keys.connection(), range).await?;
    let mut deletion = Deletion::new(keys.connection(), preview);
    let progress = deletion.run(|_| {}).await?;
    let value = PrefixDeleted { deleted: progress.deleted, kept: progress.kept };
    Ok(Answer { value, revision: deletion.revision() })
}
