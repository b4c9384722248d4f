//! Changing records that are there.

use crate::condition::{Condition, Expect};
use crate::fault::Fault;
use crate::key::Key;
use crate::store::Store;
use crate::transaction::{Before, Failed, Transaction, TransactionError};

/// Why nothing was updated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// There is no such record.
    #[error("`{key}` is not there; nothing was updated")]
    Missing {
        /// The key.
        key: Key,
    },
    /// Somebody changed it first.
    #[error("`{key}` has revision {found}, not {expected}; nothing was updated")]
    Conflict {
        /// The key.
        key: Key,
        /// The revision that it was to have.
        expected: i64,
        /// The revision that it has.
        found: i64,
    },
    /// It could not be tried.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// Writes a new value to a record. Answers the revision that did.
    ///
    /// # Errors
    /// [`UpdateError::Missing`], and [`UpdateError::Conflict`] with [`Expect::Revision`].
    pub async fn update(&self, key: &Key, value: impl Into<Vec<u8>>, expect: Expect) -> Result<i64, UpdateError> {
        let transaction = Transaction::new().write(key, value, expect.or(Condition::Required));
        match self.commit_with(&transaction, Before::Ignored).await {
            Ok(committed) => Ok(committed.revision),
            Err(error) => Err(UpdateError::of(error, expect)),
        }
    }
}

impl UpdateError {
    pub(crate) fn of(error: TransactionError, expect: Expect) -> Self {
        match (error, expect) {
            (TransactionError::Fault(fault), _) => Self::Fault(fault),
            (TransactionError::Failed(Failed { key, found: Some(found), .. }), Expect::Revision(expected)) => {
                Self::Conflict { key, expected, found }
            }
            (TransactionError::Failed(Failed { key, .. }), _) => Self::Missing { key },
        }
    }
}
