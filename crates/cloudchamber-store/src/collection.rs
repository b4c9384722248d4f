//! Items that can be listed, and their two keys: an entry in a plural index, and a singular record. Reads and writes
//! nothing.
//!
//! ```text
//! racks/index/racks/rack1             the index of racks: listing them reads this prefix and nothing else
//! racks/rack/rack1                    a rack's record
//! racks/index/rack/rack1/blades/7     the index of its blades
//! racks/rack/rack1/blade/7            a blade's record
//! ```
//!
//! The index is needed because below `racks/rack/` are the racks and also the blades in them.

use crate::error::Error;
use crate::key::{Key, Prefix, Root};
use crate::name::Name;

/// The kind of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemKind {
    /// A user.
    User,
    /// A rack.
    Rack,
    /// A blade.
    Blade,
    /// A power distribution unit.
    Pdu,
    /// A top-of-rack switch.
    Tor,
    /// A workload.
    Workload,
    /// An item in tests.
    Test,
}

impl ItemKind {
    /// The word for one item, in the keys of records.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Rack => "rack",
            Self::Blade => "blade",
            Self::Pdu => "pdu",
            Self::Tor => "tor",
            Self::Workload => "workload",
            Self::Test => "test",
        }
    }

    /// The word for several items, in the index.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Rack => "racks",
            Self::Blade => "blades",
            Self::Pdu => "pdus",
            Self::Tor => "tors",
            Self::Workload => "workloads",
            Self::Test => "tests",
        }
    }
}

/// Items that are listed together: all racks, or all blades of one rack.
///
/// ```
/// use cloudchamber_store::{ItemKind, Root};
///
/// let rack = Root::Racks.collection(ItemKind::Rack).item("Rack1")?;
/// assert_eq!(rack.record().as_str(), "racks/rack/rack1");
/// let blades = rack.collection(ItemKind::Blade);
/// assert_eq!(blades.index().as_str(), "racks/index/rack/rack1/blades/");
/// assert_eq!(blades.item("7")?.record().as_str(), "racks/rack/rack1/blade/7");
/// # Ok::<(), cloudchamber_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    index: Prefix,
    records: Prefix,
    /// The beginning of the indexes of an item's own collections.
    inner_index: Prefix,
}

impl Root {
    /// The items of this kind, directly below this root.
    #[must_use]
    pub fn collection(self, kind: ItemKind) -> Collection {
        Collection::new(&self.prefix().word("index"), &self.prefix(), kind)
    }
}

impl Collection {
    fn new(index: &Prefix, records: &Prefix, kind: ItemKind) -> Self {
        Self {
            index: index.word(kind.plural()),
            records: records.word(kind.singular()),
            inner_index: index.word(kind.singular()),
        }
    }

    /// The index: one key for each item, named after it.
    #[must_use]
    pub fn index(&self) -> &Prefix {
        &self.index
    }

    /// The records, with everything below them.
    #[must_use]
    pub fn records(&self) -> &Prefix {
        &self.records
    }

    /// The item of this name. The item need not exist.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName).
    pub fn item(&self, name: impl AsRef<str>) -> Result<Item, Error> {
        Ok(self.named(&Name::new(name)?))
    }

    /// The item of this name. The item need not exist.
    #[must_use]
    pub fn named(&self, name: &Name) -> Item {
        Item { collection: self.clone(), name: name.clone() }
    }
}

/// One item of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    collection: Collection,
    name: Name,
}

impl Item {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The key of its record.
    #[must_use]
    pub fn record(&self) -> Key {
        self.collection.records.key(&self.name)
    }

    /// The key of its entry in the index.
    #[must_use]
    pub fn index_entry(&self) -> Key {
        self.collection.index.key(&self.name)
    }

    /// The items of this kind in this item.
    #[must_use]
    pub fn collection(&self, kind: ItemKind) -> Collection {
        Collection::new(
            &self.collection.inner_index.below(&self.name),
            &self.collection.records.below(&self.name),
            kind,
        )
    }
}
