//! Sets of keys: one key, a range, a prefix, or all, with etcd's meaning of key and range end.

use std::fmt;

use crate::client::text::Escaped;

/// A set of keys, as in etcd's requests: a single key, or all keys from a start up to but not including an end.
///
/// `Debug` prints the same as `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// Boxed, because errors contain ranges and should be small.
    key: Box<[u8]>,
    end: End,
}

/// The smallest possible key.
const FIRST_KEY: &[u8] = &[0];

/// Where a range ends.
#[derive(Clone, PartialEq, Eq, Hash)]
enum End {
    /// The range is the key alone.
    Itself,
    Before(Vec<u8>),
    Never,
}

impl KeyRange {
    /// One key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into().into(), end: End::Itself }
    }

    /// From `start` up to but not including `end`. The range is empty if `end` does not come after `start`.
    #[must_use]
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { key: start.into().into(), end: End::Before(end.into()) }
    }

    /// From `start` to the last key, like etcdctl's `--from-key`.
    #[must_use]
    pub fn from_key(start: impl Into<Vec<u8>>) -> Self {
        Self { key: start.into().into(), end: End::Never }
    }

    /// Every key that begins with `prefix`; the empty prefix means all keys.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let key = prefix.into();
        let end = after_prefix(&key).map_or(End::Never, End::Before);
        Self { key: key.into(), end }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::prefix([])
    }

    /// The first key that may be in the range.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.key
    }

    /// The first key after the range; `None` if the range has no end.
    #[must_use]
    pub fn end(&self) -> Option<Vec<u8>> {
        match &self.end {
            End::Itself => Some(successor(&self.key)),
            End::Before(end) => Some(end.clone()),
            End::Never => None,
        }
    }

    /// Whether the range is a single key, made with [`KeyRange::key`].
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.end == End::Itself
    }

    /// Whether no key can be in the range. The smallest key is one zero byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.end {
            End::Itself => self.key.is_empty(),
            End::Before(end) => end.as_slice() <= (&*self.key).max(FIRST_KEY),
            End::Never => false,
        }
    }

    /// Whether a key is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Itself => key == &*self.key,
            End::Before(end) => key >= &*self.key && key < end.as_slice(),
            End::Never => key >= &*self.key,
        }
    }

    /// The `key` and `range_end` of a request to etcd. In etcd an empty `range_end` means the key alone, and a single zero
    /// byte means no end. An empty range stays empty.
    #[must_use]
    pub fn to_wire(&self) -> (Vec<u8>, Vec<u8>) {
        if self.is_empty() && !self.is_single() {
            return (vec![1], vec![1]);
        }
        let key = match (self.key.is_empty(), &self.end) {
            (true, End::Itself) | (false, _) => self.key.to_vec(),
            (true, _) => vec![0],
        };
        let end = match &self.end {
            End::Itself => Vec::new(),
            End::Before(end) => end.clone(),
            End::Never => vec![0],
        };
        (key, end)
    }
}

/// The key right after `key`.
#[must_use]
pub fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// The first key after all keys that begin with `prefix`: increments the last byte that is not 0xff, and cuts the rest off.
/// `None` if the prefix is empty or has only 0xff bytes: no key comes after.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Escaped(&self.key);
        match &self.end {
            End::Itself => write!(f, "`{key}`"),
            End::Never if self.key.is_empty() => f.write_str("all keys"),
            End::Before(end) if after_prefix(&self.key).as_ref() == Some(end) => {
                write!(f, "prefix `{key}`")
            }
            End::Before(end)
                if self
                    .key
                    .split_last()
                    .is_some_and(|(last, prefix)| *last == 0 && after_prefix(prefix).as_ref() == Some(end)) =>
            {
                write!(f, "keys below `{}`", Escaped(self.key.strip_suffix(FIRST_KEY).unwrap_or(&self.key)))
            }
            End::Before(end) => write!(f, "`{key}` to `{}`", Escaped(end)),
            End::Never => write!(f, "`{key}` to the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_ends_where_the_last_byte_carries() {
        assert_eq!(KeyRange::prefix("a").end(), Some(b"b".to_vec()));
        assert_eq!(KeyRange::prefix(*b"a\xff\xff").end(), Some(b"b".to_vec()));
        assert_eq!(KeyRange::prefix(*b"\xff\xff").end(), None);
        assert_eq!(KeyRange::prefix(*b"\xff").to_wire(), (vec![0xff], vec![0]));
        assert_eq!(KeyRange::all().to_wire(), (vec![0], vec![0]));
    }

    #[test]
    fn ranges_whose_end_is_not_after_the_start_are_empty() {
        assert!(KeyRange::between("b", "a").is_empty() && KeyRange::between("a", "a").is_empty());
        assert!(!KeyRange::between("a", "b").is_empty() && !KeyRange::key("a").is_empty());
        assert!(KeyRange::between("", "\0").is_empty() && !KeyRange::between("", "\x01").is_empty());
    }

    #[test]
    fn an_empty_range_is_empty_on_the_wire() {
        // ("a", "") would be the key `a`, ("a", "\0") all keys from `a` on, and ("\0", "\0") all keys.
        for range in [("a", ""), ("a", "\0"), ("", ""), ("", "\0"), ("\0", "\0"), ("b", "a")] {
            let (key, end) = KeyRange::between(range.0, range.1).to_wire();
            assert!(key == end && end.as_slice() > [0].as_slice(), "{range:?}");
        }
    }

    #[test]
    fn ranges_are_shown_for_people() {
        for (range, shown) in [
            (KeyRange::from_key("a"), "`a` to the end"),
            (KeyRange::key("a"), "`a`"),
            (KeyRange::prefix("a/"), "prefix `a/`"),
            (KeyRange::between("a/\0", "a0"), "keys below `a/`"),
            (KeyRange::between("a", "a\0"), "`a` to `a\\0`"),
            (KeyRange::all(), "all keys"),
        ] {
            assert_eq!(range.to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn a_prefix_contains_what_begins_with_it(prefix: Vec<u8>, key: Vec<u8>) {
            prop_assert_eq!(KeyRange::prefix(prefix.clone()).contains(&key), key.starts_with(&prefix));
            let longer = [prefix.as_slice(), &key].concat();
            prop_assert!(KeyRange::prefix(prefix).contains(&longer));
        }
    }
}
