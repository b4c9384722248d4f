//! Things that can be listed, and their two keys: an entry in a plural index, and a singular record. Knows what is
//! called what; reads and writes nothing.
//!
//! ```text
//! racks/index/racks/rack1             the index of racks: listing them reads this prefix and nothing else
//! racks/rack/rack1                    a rack's record
//! racks/index/rack/rack1/blades/7     the index of its blades
//! racks/rack/rack1/blade/7            a blade's record
//! ```
//!
//! Records alone could not be listed so: what begins with `racks/rack/` are the racks and all that is in them.

use crate::error::Error;
use crate::key::{Key, Prefix, Root};
use crate::name::Name;

/// What a thing is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noun {
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
    /// A thing of tests.
    Test,
}

impl Noun {
    /// What one is called.
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

    /// What many are called.
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

/// All racks, or all blades of one rack: what is listed together.
///
/// ```
/// use cloudchamber_store::{Noun, Root};
///
/// let rack = Root::Racks.collection(Noun::Rack).item("Rack1")?;
/// assert_eq!(rack.record().as_str(), "racks/rack/rack1");
/// let blades = rack.collection(Noun::Blade);
/// assert_eq!(blades.index().as_str(), "racks/index/rack/rack1/blades/");
/// assert_eq!(blades.item("7")?.record().as_str(), "racks/rack/rack1/blade/7");
/// # Ok::<(), cloudchamber_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    index: Prefix,
    records: Prefix,
    /// What an item's own collections begin with.
    inner_index: Prefix,
}

impl Root {
    /// The things of this kind, at the top of this root.
    #[must_use]
    pub fn collection(self, noun: Noun) -> Collection {
        Collection::new(&self.prefix().word("index"), &self.prefix(), noun)
    }
}

impl Collection {
    fn new(index: &Prefix, records: &Prefix, noun: Noun) -> Self {
        Self {
            index: index.word(noun.plural()),
            records: records.word(noun.singular()),
            inner_index: index.word(noun.singular()),
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

    /// The item of this name, whether there is one or not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName).
    pub fn item(&self, name: impl AsRef<str>) -> Result<Item, Error> {
        Ok(self.named(&Name::new(name)?))
    }

    /// The item of this name, whether there is one or not.
    #[must_use]
    pub fn named(&self, name: &Name) -> Item {
        Item { collection: self.clone(), name: name.clone() }
    }
}

/// One thing of a collection.
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

    /// The things of this kind in it.
    #[must_use]
    pub fn collection(&self, noun: Noun) -> Collection {
        Collection::new(
            &self.collection.inner_index.below(&self.name),
            &self.collection.records.below(&self.name),
            noun,
        )
    }
}
