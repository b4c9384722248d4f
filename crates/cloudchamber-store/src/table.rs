//! Typed records that are listed: each with its entry in the index, created and deleted together.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Collection, Item};
use crate::condition::{Condition, Expect};
use crate::create::CreateError;
use crate::delete::DeleteError;
use crate::fault::Fault;
use crate::list::ListError;
use crate::name::{Name, NameError};
use crate::read::ReadError;
use crate::record::{Answer, DecodeError, EncodeError, Record, encode};
use crate::store::Store;
use crate::transaction::{Before, Transaction};
use crate::update::UpdateError;

/// The things of a [`Collection`], as records of one type.
///
/// ```no_run
/// # async fn example(store: cloudchamber_store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use cloudchamber_store::{Expect, Noun, Root};
///
/// let racks = store.table::<u32>(Root::Racks.collection(Noun::Rack));
/// racks.create("rack1", &8).await?;
/// if let Some(rack) = racks.read("rack1").await?.value {
///     racks.update("rack1", &(rack.value + 1), Expect::Revision(rack.revision)).await?;
/// }
/// for name in racks.names().await?.value {
///     println!("{name}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Table<T> {
    store: Store,
    collection: Collection,
    of: PhantomData<fn(T) -> T>,
}

/// Why an operation on a table failed; `E` is the error of the same operation on a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError<E: std::error::Error + 'static> {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The value cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The record cannot be read as this type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The operation itself.
    #[error(transparent)]
    Operation(E),
}

impl Store {
    /// The things of a collection, as records of one type.
    #[must_use]
    pub fn table<T>(&self, collection: Collection) -> Table<T> {
        Table { store: self.clone(), collection, of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The names of all that there are: one read of the index.
    ///
    /// # Errors
    /// [`ListError`].
    pub async fn names(&self) -> Result<Answer<Vec<Name>>, ListError> {
        let entries = self.store.list(self.collection.index()).await?;
        let names = entries.value.iter().map(|entry| Name::new(entry.key.name()));
        // What is a key consists of names.
        let value = names.filter_map(Result::ok).collect();
        Ok(Answer { value, revision: entries.revision })
    }

    /// Creates one. Answers the revision that did.
    ///
    /// # Errors
    /// [`CreateError`], or that the name or the value is none.
    pub async fn create(&self, name: impl AsRef<str>, value: &T) -> Result<i64, TableError<CreateError>> {
        let item = self.collection.item(name)?;
        let transaction = Transaction::new().write(&item.record(), encode(value)?, Condition::Create).write(
            &item.index_entry(),
            "",
            Condition::None,
        );
        let committed = self.store.commit_with(&transaction, Before::Ignored).await;
        Ok(committed.map_err(|error| TableError::Operation(error.into()))?.revision)
    }

    /// Reads one; `None`: there is none of this name.
    ///
    /// # Errors
    /// [`ReadError`], or that the name is none, or the record is not of this type.
    pub async fn read(&self, name: impl AsRef<str>) -> Result<Answer<Option<Record<T>>>, TableError<ReadError>> {
        let item = self.collection.item(name)?;
        let answer = self.store.read(&item.record()).await.map_err(TableError::Operation)?;
        Ok(answer.decode()?)
    }

    /// Reads those of these names that there are, as of one revision, in the order of their names.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub async fn read_many(
        &self,
        names: impl IntoIterator<Item = Name>,
    ) -> Result<Answer<Vec<Record<T>>>, TableError<ReadError>> {
        let keys = names.into_iter().map(|name| self.collection.named(&name).record());
        let answer = self.store.read_many(keys).await.map_err(TableError::Operation)?;
        Ok(answer.map(|found| found.into_values().collect::<Vec<_>>()).decode()?)
    }

    /// Writes a new value to one. Answers the revision that did.
    ///
    /// # Errors
    /// [`UpdateError`], or that the name or the value is none.
    pub async fn update(
        &self,
        name: impl AsRef<str>,
        value: &T,
        expect: Expect,
    ) -> Result<i64, TableError<UpdateError>> {
        let item = self.collection.item(name)?;
        self.store.update(&item.record(), encode(value)?, expect).await.map_err(TableError::Operation)
    }

    /// Deletes one; whether there was one. What is in it, the blades of a rack say, has records of its own, which
    /// stay: delete those first.
    ///
    /// # Errors
    /// [`DeleteError`], or that the name is none.
    pub async fn delete(&self, name: impl AsRef<str>, expect: Expect) -> Result<Answer<bool>, TableError<DeleteError>> {
        let item = self.collection.item(name)?;
        let transaction = Transaction::new()
            .delete(&item.record(), expect.or(Condition::None))
            .delete(&item.index_entry(), Condition::None);
        let committed = self.store.commit_with(&transaction, Before::Told).await;
        let committed = committed.map_err(|error| TableError::Operation(DeleteError::of(error, |_| expect)))?;
        Ok(Answer { value: committed.found.contains_key(&item.record()), revision: committed.revision })
    }

    /// The item of a name, for what has no method here: its keys, and the collections in it.
    ///
    /// # Errors
    /// If it is no name.
    pub fn item(&self, name: impl AsRef<str>) -> Result<Item, NameError> {
        self.collection.item(name)
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:?})", self.collection)
    }
}

impl<E: std::error::Error + From<Fault> + 'static> From<Fault> for TableError<E> {
    fn from(fault: Fault) -> Self {
        Self::Operation(fault.into())
    }
}
