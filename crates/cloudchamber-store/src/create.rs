//! Creating records that are not there yet.

use crate::condition::Condition;
use crate::fault::Fault;
use crate::key::Key;
use crate::store::Store;
use crate::transaction::{Before, Failed, Transaction, TransactionError};

/// Why nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is such a record.
    #[error("`{key}` exists already, since revision {revision}; nothing was created")]
    Exists {
        /// Its key.
        key: Key,
        /// The revision that wrote it last.
        revision: i64,
    },
    /// It could not be tried.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<TransactionError> for CreateError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Failed(Failed { key, found, .. }) => {
                Self::Exists { key, revision: found.unwrap_or_default() }
            }
            TransactionError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl Store {
    /// Creates a record. Answers the revision that did.
    ///
    /// # Errors
    /// [`CreateError::Exists`].
    pub async fn create(&self, key: &Key, value: impl Into<Vec<u8>>) -> Result<i64, CreateError> {
        self.create_many([(key.clone(), value)]).await
    }

    /// Creates several records, all or none. Answers the revision that did; of none, the current one.
    ///
    /// # Errors
    /// [`CreateError::Exists`], with the first key that does; [`Fault::TooMany`].
    pub async fn create_many<V: Into<Vec<u8>>>(
        &self,
        records: impl IntoIterator<Item = (Key, V)>,
    ) -> Result<i64, CreateError> {
        let create = |txn: Transaction, (key, value): (Key, V)| txn.write(&key, value, Condition::Create);
        let transaction = records.into_iter().fold(Transaction::new(), create);
        Ok(self.commit_with(&transaction, Before::Ignored).await?.revision)
    }
}
