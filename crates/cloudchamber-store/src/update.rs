//! Changing records that exist.

use crate::condition::{Condition, Expect};
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::transaction::{Previous, Transaction};

impl Store {
    /// Writes a new value to a record. Returns the revision that the record has now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and with [`Expect::Revision`]
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
    pub async fn update(&self, key: &Key, value: impl Into<Vec<u8>>, expect: Expect) -> Result<i64, Error> {
        let transaction = Transaction::new().write(key, value, expect.or(Condition::Required));
        Ok(self.commit_with(&transaction, Previous::Omitted).await?.revision)
    }
}
