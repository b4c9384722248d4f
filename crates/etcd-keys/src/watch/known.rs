//! The keys that a tracking watch has reported, and how a new listing differs from them. Its memory is limited. No I/O.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::event::{Event, EventKind, EventRef};
use crate::client::range::successor;

/// The limit for all keys, in bytes: about a million keys of 64 bytes.
const MOST_BYTES: usize = 128 << 20;
/// The memory for a key besides its bytes: an entry in a map that is two thirds full, and on the heap [measured].
const OVERHEAD: usize = 64;

/// Keys with the revision of their last change. Empty once there were too many.
#[derive(Debug)]
pub(super) struct Known {
    keys: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
    most: usize,
    overflowed: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), bytes: 0, most: MOST_BYTES, overflowed: false }
    }
}

impl Known {
    /// Remembers at most this many bytes.
    pub(super) fn at_most(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Forgets all keys and starts again.
    pub(super) fn clear(&mut self) {
        *self = Self { most: self.most, ..Self::default() };
    }

    /// Whether there were too many keys to remember, so that no difference can be computed.
    pub(super) fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Remembers a key. Returns whether the key or its revision is new.
    pub(super) fn insert(&mut self, key: &[u8], revision: i64) -> bool {
        if self.overflowed {
            return true;
        }
        if let Some(known) = self.keys.get_mut(key) {
            return std::mem::replace(known, revision) != revision;
        }
        self.bytes += key.len() + OVERHEAD;
        if self.bytes > self.most {
            self.keys.clear();
            self.overflowed = true;
        } else {
            self.keys.insert(key.into(), revision);
        }
        true
    }

    fn forget(&mut self, key: &[u8]) {
        if self.keys.remove(key).is_some() {
            self.bytes -= key.len() + OVERHEAD;
        }
    }

    pub(super) fn apply(&mut self, event: EventRef<'_>) {
        match event.kind() {
            EventKind::Put => {
                self.insert(event.kv().key(), event.kv().mod_revision());
            }
            EventKind::Delete => self.forget(event.kv().key()),
        }
    }

    /// A listing in order went from `from` to `key`: known keys between the two were deleted by `revision`.
    pub(super) fn pass(&mut self, from: &mut Vec<u8>, key: &[u8], revision: i64, events: &mut Vec<Event>) {
        self.remove(from, Some(key), revision, events);
        *from = successor(key);
    }

    /// The listing has ended: all later known keys were deleted.
    pub(super) fn pass_rest(&mut self, from: &[u8], revision: i64, events: &mut Vec<Event>) {
        self.remove(from, None, revision, events);
    }

    fn remove(&mut self, from: &[u8], to: Option<&[u8]>, revision: i64, events: &mut Vec<Event>) {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        if matches!(to, Bound::Excluded(to) if to <= from) {
            return;
        }
        let range = (Bound::Included(from), to);
        let gone: Vec<_> = self.keys.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.forget(&key);
            events.push(Event::missing(key.into_vec(), revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_many_keys_are_all_forgotten() {
        let mut known = Known::at_most(3 * (OVERHEAD + 1));
        for key in [b"a", b"b", b"c", b"a"] {
            known.insert(key, 1);
        }
        known.forget(b"b");
        assert!(known.insert(b"d", 1) && !known.insert(b"d", 1) && !known.is_overflowed());
        assert!(known.insert(b"e", 1) && known.is_overflowed() && known.keys.is_empty());
        assert!(known.insert(b"e", 1) && known.keys.is_empty(), "not even some of it");
        known.clear();
        assert!(known.insert(b"e", 1) && !known.insert(b"e", 1) && !known.is_overflowed());
    }

    /// Few keys and revisions, so that two maps have some in common.
    fn keys() -> impl Strategy<Value = BTreeMap<Vec<u8>, u8>> {
        prop::collection::btree_map(prop::collection::vec(0..2_u8, 0..4), 0..3_u8, 0..12)
    }

    proptest! {
        #[test]
        fn the_difference_turns_the_known_keys_into_the_listed_keys(before in keys(), now in keys()) {
            let mut known = Known::default();
            for (key, revision) in &before {
                known.insert(key, (*revision).into());
            }
            let (mut events, mut from) = (Vec::new(), Vec::new());
            for (key, revision) in &now {
                known.pass(&mut from, key, 999, &mut events);
                if known.insert(key, (*revision).into()) {
                    events.push(Event { kind: EventKind::Put, ..Event::missing(key.clone(), (*revision).into()) });
                }
            }
            known.pass_rest(&from, 999, &mut events);
            prop_assert!(events.is_sorted_by(|a, b| a.kv.key < b.kv.key), "each key once, in order");
            let mut state = before;
            for event in events {
                match event.kind {
                    EventKind::Put => prop_assert_ne!(state.insert(event.kv.key, event.kv.mod_revision as u8), Some(event.kv.mod_revision as u8)),
                    EventKind::Delete => prop_assert!(state.remove(&event.kv.key).is_some()),
                }
            }
            prop_assert_eq!(&state, &now);
            prop_assert_eq!(known.keys.len(), now.len());
        }
    }
}
