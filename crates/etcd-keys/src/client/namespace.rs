//! A namespace: all keys that begin with a prefix and are longer than it. Translates keys and ranges between relative and
//! full names, for any bytes, and never to a key outside. Sends no requests.

use std::fmt;
use std::sync::Arc;

use crate::client::range::KeyRange;
use crate::client::text::Escaped;

/// The keys below a prefix, as a keyspace of their own. Cheap to clone.
///
/// The prefix is used as it is. End it with `/` for a folder: the namespace `run` also contains the key `run2/x`, as `2/x`.
///
/// As in etcd, there is no empty key: a key that equals the prefix is not in the namespace, neither by name nor in ranges.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    prefix: Arc<[u8]>,
}

impl Namespace {
    /// The keys below a prefix. The empty prefix means all keys: [`Connection::keys`] refuses it.
    ///
    /// [`Connection::keys`]: crate::Connection::keys
    #[must_use]
    pub fn new(prefix: impl AsRef<[u8]>) -> Self {
        Self { prefix: prefix.as_ref().into() }
    }

    /// The namespace of a prefix within this one.
    #[must_use]
    pub fn child(&self, prefix: impl AsRef<[u8]>) -> Self {
        Self { prefix: [&self.prefix, prefix.as_ref()].concat().into() }
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// All keys of the namespace.
    #[must_use]
    pub fn range(&self) -> KeyRange {
        self.to_full(&KeyRange::all())
    }

    /// The key's full name; `None` for the empty key, which is not valid.
    #[must_use]
    pub fn to_full_key(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let key = key.as_ref();
        (!key.is_empty()).then(|| [&self.prefix, key].concat())
    }

    /// The range with full names. A range without an end ends with the namespace. A range that starts at the empty key
    /// starts at the first key. The empty key alone is an empty range.
    #[must_use]
    pub fn to_full(&self, range: &KeyRange) -> KeyRange {
        if range.is_empty() {
            // If the end is before the start, it may also be outside of the namespace.
            let nothing = [&self.prefix, [1].as_slice()].concat();
            return KeyRange::between(nothing.clone(), nothing);
        }
        let first = if range.start().is_empty() { [0].as_slice() } else { range.start() };
        let start = [&self.prefix, first].concat();
        if range.is_single() {
            return KeyRange::key(start);
        }
        match range.end() {
            Some(end) => KeyRange::between(start, [&self.prefix, end.as_slice()].concat()),
            None => match KeyRange::prefix(&*self.prefix).end() {
                Some(end) => KeyRange::between(start, end),
                None if self.prefix.is_empty() && range.start().is_empty() => KeyRange::all(),
                None => KeyRange::from_key(start),
            },
        }
    }

    /// The key's relative name; `None` if the key is outside of the namespace.
    #[must_use]
    pub fn to_relative<'a>(&self, full: &'a [u8]) -> Option<&'a [u8]> {
        full.strip_prefix(&*self.prefix).filter(|key| !key.is_empty())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(&self.prefix))
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace(`{self}`)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_end_with_the_namespace() {
        let namespace = Namespace::new("/a/");
        assert_eq!(namespace.range(), KeyRange::between("/a/\0", "/a0"));
        assert_eq!(namespace.to_full(&KeyRange::from_key("k")), KeyRange::between("/a/k", "/a0"));
        assert_eq!(namespace.to_full(&KeyRange::prefix(*b"\xff")), KeyRange::between(*b"/a/\xff", "/a0"));
        assert_eq!(namespace.to_full(&KeyRange::prefix(*b"k\xff")), KeyRange::between(*b"/a/k\xff", "/a/l"));
        assert_eq!(namespace.to_full(&KeyRange::key("k")), KeyRange::key("/a/k"));
        assert_eq!(namespace.range().to_string(), "keys below `/a/`");
        assert_eq!(Namespace::new("").range(), KeyRange::all());
        assert_eq!(Namespace::new(b"\xff\xff").range(), KeyRange::from_key(*b"\xff\xff\0"));
    }

    #[test]
    fn the_prefix_itself_is_outside() {
        let namespace = Namespace::new("/a/");
        assert_eq!((namespace.to_full_key(""), namespace.to_relative(b"/a/")), (None, None));
        assert!(namespace.to_full(&KeyRange::key("")).is_empty() && !namespace.range().contains(b"/a/"));
        assert_eq!(namespace.child("b/"), Namespace::new("/a/b/"));
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        // The bytes at which ends carry and comparisons turn, and few enough for ranges to meet.
        proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(b'/'), Just(0xfe), Just(0xff)], 0..5)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            bytes().prop_map(KeyRange::key),
            bytes().prop_map(KeyRange::from_key),
            bytes().prop_map(KeyRange::prefix),
            (bytes(), bytes()).prop_map(|(start, end)| KeyRange::between(start, end)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_range_means_the_same_inside_and_nothing_outside(prefix in bytes(), range in range(), key in bytes()) {
            let namespace = Namespace::new(&prefix);
            let full = namespace.to_full(&range);
            // As etcd reads it, from the wire.
            let (start, end) = full.to_wire();
            let in_full = |key: &[u8]| match end.as_slice() {
                [] => key == start,
                [0] => key >= start.as_slice(),
                end => key >= start.as_slice() && key < end,
            };
            if let Some(inside) = namespace.to_full_key(&key) {
                prop_assert_eq!(in_full(&inside), range.contains(&key), "{} as {}", range, full);
                prop_assert_eq!(full.contains(&inside), range.contains(&key));
                prop_assert_eq!(namespace.to_relative(&inside), Some(key.as_slice()));
            }
            if !key.is_empty() && namespace.to_relative(&key).is_none() {
                prop_assert!(!in_full(&key) && !full.contains(&key), "{} has {:?}", full, key);
            }
        }
    }
}
