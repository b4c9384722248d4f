//! Keys and prefixes of the store, relative to its namespace. Each begins with one of the roots. Nothing here speaks to
//! etcd.

use std::fmt;
use std::str::FromStr;

use etcd_keys::KeyRange;
use etcd_keys::text::Escaped;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Failure};
use crate::name::{Name, invalid, is_normal, normalize};

/// The first segment of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Root {
    /// Users, who may log in.
    Users,
    /// Racks as the simulation knows them.
    Racks,
    /// Workloads, which run on racks.
    Workloads,
    /// The inventory: intended and actual.
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

    fn parse(text: &str) -> Result<Self, String> {
        let root = Self::ALL.into_iter().find(|root| root.as_str().eq_ignore_ascii_case(text));
        root.ok_or_else(|| format!("the roots are {}", Self::ALL.map(Self::as_str).join(", ")))
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
///
/// ```
/// use cloudchamber_store::{Key, Root};
///
/// let key: Key = "racks/rack/Rack1".parse()?;
/// assert_eq!(key, Root::Racks.key("rack/rack1")?);
/// assert_eq!(key.to_string(), "racks/rack/rack1");
/// # Ok::<(), cloudchamber_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(String);

impl Key {
    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment: the name of the item.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (root, path) = text.split_once('/').ok_or("a key is a root, `/`, and names with `/` between them")?;
        Root::parse(root)?.key_of(path)
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
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

    fn parse(text: &str) -> Result<Self, String> {
        let key = text.strip_suffix('/').ok_or("a prefix ends with `/`")?;
        match key.split_once('/') {
            None => Ok(Root::parse(key)?.prefix()),
            Some(_) => Ok(Self(Key::parse(key)?.0 + "/")),
        }
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

/// `FromStr`, and what serde needs to deserialize a string.
macro_rules! from_text {
    ($type:ty, $what:literal) => {
        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text).map_err(|reason| invalid(text, $what, reason))
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }
    };
}

from_text!(Root, "root");
from_text!(Key, "key");
from_text!(Prefix, "prefix");

impl From<Root> for &'static str {
    fn from(root: Root) -> Self {
        root.as_str()
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

    #[test]
    fn a_text_that_is_not_a_key_is_one_clear_error() {
        let name =
            "a name begins with an ASCII letter or digit, and continues with letters, digits, `-`, `_`, `.` and `@`";
        for (text, reason) in [
            ("", "a key is a root, `/`, and names with `/` between them"),
            ("racks", "a key is a root, `/`, and names with `/` between them"),
            ("racks/", "a name must not be empty"),
            ("racks/a b", name),
            ("shelves/a", "the roots are users, racks, workloads, inventory, storetest"),
        ] {
            let message = format!("cannot use `{text}` as a key: {reason}");
            assert_eq!(text.parse::<Key>().unwrap_err().to_string(), message);
            assert_eq!(serde_json::from_value::<Key>(text.into()).unwrap_err().to_string(), message);
        }
        for (text, reason) in [("racks", "a prefix ends with `/`"), ("racks/-/", name), ("/", "the roots are users, ")]
        {
            let message = text.parse::<Prefix>().unwrap_err().to_string();
            assert!(message.starts_with(&format!("cannot use `{text}` as a prefix: {reason}")), "{message}");
        }
        assert!("shelves".parse::<Root>().unwrap_err().to_string().starts_with("cannot use `shelves` as a root: "));
    }

    /// Whether a value is the same after it was written as text and as JSON, and read again.
    fn comes_back<T>(value: &T) -> bool
    where
        T: FromStr<Err = Error> + fmt::Display + PartialEq + Serialize + serde::de::DeserializeOwned,
    {
        let (text, json) = (value.to_string(), serde_json::to_value(value).unwrap());
        json == text.as_str()
            && text.parse::<T>().unwrap() == *value
            && serde_json::from_value::<T>(json).unwrap() == *value
    }

    proptest! {
        #[test]
        fn keys_and_prefixes_come_back_from_text(path in "[a-cA-C./]{0,9}") {
            for root in Root::ALL {
                prop_assert!(comes_back(&root) && comes_back(&root.prefix()));
                let text = format!("{root}/{path}");
                let (key, parsed) = (root.key(&path).ok(), text.to_uppercase().parse::<Key>().ok());
                prop_assert_eq!(&key, &parsed);
                prop_assert!(key.is_none_or(|key| comes_back(&key)));
                prop_assert!(root.below(&path).ok().is_none_or(|prefix| comes_back(&prefix)));
            }
        }

        #[test]
        fn any_text_is_a_key_or_an_error_of_one_line(text in ".{0,20}|racks/.{0,20}") {
            match text.parse::<Key>() {
                Ok(key) => prop_assert_eq!(key.as_str(), text.to_ascii_lowercase()),
                Err(error) => prop_assert!(!error.to_string().contains(char::is_control), "{}", error),
            }
        }

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
