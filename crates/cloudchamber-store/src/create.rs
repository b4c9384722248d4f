//! Creating records that do not exist yet.

use crate::condition::Condition;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::transaction::{Previous, Transaction};

impl Store {
    /// Creates a record. Returns the revision that the record has now.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists).
    pub async fn create(&self, key: &Key, value: impl Into<Vec<u8>>) -> Result<i64, Error> {
        self.create_many([(key.clone(), value)]).await
    }

    /// Creates several records, all or none. Returns the revision that they have now; of no records, the store's
    /// current revision.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists), for the first key that exists;
    /// [`ErrorKind::TooManyKeys`](crate::ErrorKind::TooManyKeys).
    pub async fn create_many<V: Into<Vec<u8>>>(
        &self,
        records: impl IntoIterator<Item = (Key, V)>,
    ) -> Result<i64, Error> {
        let create = |txn: Transaction, (key, value): (Key, V)| txn.write(&key, value, Condition::Create);
        let transaction = records.into_iter().fold(Transaction::new(), create);
        Ok(self.commit_with(&transaction, Previous::Omitted).await?.revision)
    }
}
