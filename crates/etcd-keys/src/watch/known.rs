//! Which keys a tracked watch has told of, and what a new listing says about them. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::event::{Event, EventRef, Kind};
use crate::range::successor;

/// Keys with the revision of their last change.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: BTreeMap<Box<[u8]>, i64>,
}

impl Known {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Answers whether that is new.
    pub(super) fn insert(&mut self, key: &[u8], revision: i64) -> bool {
        match self.keys.get_mut(key) {
            Some(known) => std::mem::replace(known, revision) != revision,
            None => self.keys.insert(key.into(), revision).is_none(),
        }
    }

    pub(super) fn apply(&mut self, event: EventRef<'_>) {
        match event.kind() {
            Kind::Put => {
                self.insert(event.key(), event.revision());
            }
            Kind::Delete => drop(self.keys.remove(event.key())),
        }
    }

    /// A listing in order comes from `from` to `key`: what is known between them is gone at `revision`.
    pub(super) fn pass(&mut self, from: &mut Vec<u8>, key: &[u8], revision: i64, events: &mut Vec<Event>) {
        self.remove(from, Some(key), revision, events);
        *from = successor(key);
    }

    /// The listing has ended.
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
            self.keys.remove(&key);
            events.push(Event::missing(key.into_vec(), revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_difference_leads_from_what_was_known_to_what_is(before: BTreeMap<Vec<u8>, u8>, now: BTreeMap<Vec<u8>, u8>) {
            let mut known = Known::default();
            for (key, revision) in &before {
                known.insert(key, (*revision).into());
            }
            let (mut events, mut from) = (Vec::new(), Vec::new());
            for (key, revision) in &now {
                known.pass(&mut from, key, 999, &mut events);
                if known.insert(key, (*revision).into()) {
                    events.push(Event { kind: Kind::Put, ..Event::missing(key.clone(), (*revision).into()) });
                }
            }
            known.pass_rest(&from, 999, &mut events);
            prop_assert!(events.is_sorted_by(|a, b| a.key < b.key), "each key once, in order");
            let mut state = before;
            for event in events {
                match event.kind {
                    Kind::Put => prop_assert_ne!(state.insert(event.key, event.revision as u8), Some(event.revision as u8)),
                    Kind::Delete => prop_assert!(state.remove(&event.key).is_some()),
                }
            }
            prop_assert_eq!(&state, &now);
            prop_assert_eq!(known.keys.len(), now.len());
        }
    }
}
