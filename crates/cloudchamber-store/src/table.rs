//! Typed records that are listed: each with its entry in the index, created and deleted together.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Collection, Item};
use crate::condition::{Condition, Expect};
use crate::error::Error;
use crate::name::Name;
use crate::record::{Answer, Record, encode};
use crate::store::Store;
use crate::transaction::{Previous, Transaction};

/// The items of a [`Collection`], as records of one type.
///
/// ```no_run
/// # async fn example(store: cloudchamber_store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use cloudchamber_store::{Expect, ItemKind, Root};
///
/// let racks = store.table::<u32>(Root::Racks.collection(ItemKind::Rack));
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

impl Store {
    /// The items of a collection, as records of one type.
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

    /// The names of all items: one read of the index.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn names(&self) -> Result<Answer<Vec<Name>>, Error> {
        let entries = self.store.list(self.collection.index()).await?;
        let names = entries.value.iter().map(|entry| Name::new(entry.key.name()));
        Ok(Answer { value: names.collect::<Result<_, _>>()?, revision: entries.revision })
    }

    /// Creates an item. Returns the revision that the record has now.
    ///
    /// # Errors
    /// [`InvalidValue`](crate::ErrorKind::InvalidValue), and as [`Store::create`].
    pub async fn create(&self, name: impl AsRef<str>, value: &T) -> Result<i64, Error> {
        let item = self.collection.item(name)?;
        let transaction = Transaction::new().write(&item.record(), encode(value)?, Condition::Create).write(
            &item.index_entry(),
            "",
            Condition::None,
        );
        Ok(self.store.commit_with(&transaction, Previous::Omitted).await?.revision)
    }

    /// Reads an item; `None`: there is no item of this name.
    ///
    /// # Errors
    /// [`InvalidRecord`](crate::ErrorKind::InvalidRecord), and as [`Store::read`].
    pub async fn read(&self, name: impl AsRef<str>) -> Result<Answer<Option<Record<T>>>, Error> {
        self.store.read(&self.collection.item(name)?.record()).await?.decode()
    }

    /// Reads the items of these names that exist, as of one revision, in the order of their names.
    ///
    /// # Errors
    /// [`InvalidRecord`](crate::ErrorKind::InvalidRecord), and as [`Store::read_many`].
    pub async fn read_many(&self, names: impl IntoIterator<Item = Name>) -> Result<Answer<Vec<Record<T>>>, Error> {
        let keys = names.into_iter().map(|name| self.collection.named(&name).record());
        self.store.read_many(keys).await?.map(|found| found.into_values().collect::<Vec<_>>()).decode()
    }

    /// Writes a new value to an item. Returns the revision that the record has now.
    ///
    /// # Errors
    /// [`InvalidValue`](crate::ErrorKind::InvalidValue), and as [`Store::update`].
    pub async fn update(&self, name: impl AsRef<str>, value: &T, expect: Expect) -> Result<i64, Error> {
        self.store.update(&self.collection.item(name)?.record(), encode(value)?, expect).await
    }

    /// Deletes an item; returns whether the item existed. The items in it, the blades of a rack say, have records of
    /// their own, which stay: delete those first.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub async fn delete(&self, name: impl AsRef<str>, expect: Expect) -> Result<Answer<bool>, Error> {
        let item = self.collection.item(name)?;
        let transaction = Transaction::new()
            .delete(&item.record(), expect.or(Condition::None))
            .delete(&item.index_entry(), Condition::None);
        let committed = self.store.commit_with(&transaction, Previous::Returned).await?;
        Ok(Answer { value: committed.found.contains_key(&item.record()), revision: committed.revision })
    }

    /// The item of a name: its keys, and the collections in it.
    ///
    /// # Errors
    /// [`InvalidName`](crate::ErrorKind::InvalidName).
    pub fn item(&self, name: impl AsRef<str>) -> Result<Item, Error> {
        self.collection.item(name)
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:?})", self.collection)
    }
}
