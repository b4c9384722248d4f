//! Keys and prefixes of the store, relative to its namespace. Each begins with one of the roots. Nothing here speaks to
//! etcd.

use std::fmt;

use etcd_keys::KeyRange;
use etcd_keys::text::Escaped;

use crate::error::{Error, ErrorKind, Failure};
use crate::name::{Name, invalid, is_normal, normalize};

/// The first segment of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// Who may log in.
    Users,
    /// Racks as the simulation knows them.
    Racks,
    /// What runs on them.
    Workloads,
    /// What there should be, and what there is.
    Inventory,
    /// The store's own tests.
    StoreTest,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Users, Self::Racks, Self::Workloads, Self::Inventory, Self::StoreTest];

    /// The segment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Racks => "racks",
            Self::Workloads => "workloads",
            Self::Inventory => "inventory",
            Self::StoreTest => "storetest",
        }
    }

    /// A key below this root, by a path of names: `storetest` and `A/b` make `storetest/a/b`. For items that are
    /// listed, use a [`Collection`](crate::Collection), which knows their keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if a segment is not a valid name.
    pub fn key(self, path: impl AsRef<str>) -> Result<Key, Error> {
        let path = path.as_ref();
        self.key_of(path).map_err(|reason| invalid(&format!("{self}/{path}"), "key", reason))
    }

    fn key_of(self, path: &str) -> Result<Key, String> {
        let mut key = self.as_str().to_owned();
        for segment in path.split('/') {
            key.push('/');
            key.push_str(&normalize(segment)?);
        }
        Ok(Key(key))
    }

    /// All keys below this root.
    #[must_use]
    pub fn prefix(self) -> Prefix {
        Prefix(format!("{}/", self.as_str()))
    }

    /// All keys below a path: `storetest` and `a` make `storetest/a/`, which `storetest/ab` is not below.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if a segment is not a valid name.
    pub fn below(self, path: impl AsRef<str>) -> Result<Prefix, Error> {
        let Key(key) = self.key(path.as_ref().trim_end_matches('/'))?;
        Ok(Prefix(key + "/"))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key of the store: a root and names, with slashes between. The store puts its namespace in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment: the name of the thing whose key this is.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// A key from etcd, if the store can have written it. Allocates nothing: listings have many keys.
    pub(crate) fn from_etcd(key: Vec<u8>, revision: i64) -> Result<Self, Failure> {
        let key = String::from_utf8(key).map_err(|error| foreign(error.as_bytes(), revision))?;
        let is_ours = key.split_once('/').is_some_and(|(root, path)| {
            Root::ALL.iter().any(|known| known.as_str() == root) && path.split('/').all(is_normal)
        });
        if is_ours { Ok(Self(key)) } else { Err(foreign(key.as_bytes(), revision)) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All keys below a key, which ends with a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a name below it.
    #[must_use]
    pub fn key(&self, name: &Name) -> Key {
        Key(format!("{}{name}", self.0))
    }

    /// A prefix below it.
    #[must_use]
    pub fn below(&self, name: &Name) -> Self {
        Self(format!("{}{name}/", self.0))
    }

    /// Whether a key is below it.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }

    /// A prefix below it, for a word that is a valid name.
    pub(crate) fn word(&self, word: &'static str) -> Self {
        Self(format!("{}{word}/", self.0))
    }

    pub(crate) fn to_etcd(&self) -> KeyRange {
        KeyRange::prefix(self.0.as_str())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn foreign(key: &[u8], revision: i64) -> Failure {
    let key = Escaped(key).to_string();
    Failure::from(ErrorKind::InvalidKey { key: key.clone(), revision }).at(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_ends_with_its_segment() {
        let prefix = Root::StoreTest.below("A/b").unwrap();
        assert_eq!(prefix.as_str(), "storetest/a/b/");
        assert_eq!(Root::StoreTest.below("a/b/").unwrap(), prefix);
        assert!(prefix.contains(&Root::StoreTest.key("a/b/c").unwrap()));
        for outside in ["a/b", "a/bc", "a/c"] {
            assert!(!prefix.contains(&Root::StoreTest.key(outside).unwrap()), "{outside}");
        }
        for invalid in ["", "/", "a//b", "../x", "a/..", "/a"] {
            assert!(Root::StoreTest.key(invalid).is_err(), "{invalid}");
        }
        let error = Root::Racks.key("a//b").unwrap_err();
        assert_eq!(error.to_string(), "cannot use `racks/a//b` as a key: a name must not be empty");
    }

    #[test]
    fn a_key_of_another_program_is_not_valid() {
        for key in [&b"racks"[..], b"racks/", b"racks//a", b"racks/A", b"Test/x", b"racks/\xff", b"", b"other/a"] {
            assert!(Key::from_etcd(key.to_vec(), 1).is_err(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_from_etcd_as_they_were(path in "[a-cA-C./]{0,9}") {
            for root in Root::ALL {
                if let Ok(key) = root.key(&path) {
                    prop_assert_eq!(Key::from_etcd(key.as_str().as_bytes().to_vec(), 1).unwrap(), key.clone());
                    prop_assert!(root.prefix().contains(&key));
                }
            }
        }
    }
}
