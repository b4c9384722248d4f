//! Who follows a watch and believes it: a state made of nothing but notices, to compare with the server's.

use std::collections::{BTreeMap, BTreeSet};

use etcd_keys::watch::{Event, EventKind, Notice, Watch};

use crate::server::{Contents, soon};

/// The key whose change ends a test.
pub(crate) const END: &str = "zzz";

#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) state: BTreeMap<Vec<u8>, (Vec<u8>, i64)>,
    /// Events that were seen, not found out.
    pub(crate) events: Vec<(i64, Vec<u8>)>,
    pub(crate) differences: Vec<Event>,
    pub(crate) gaps: Vec<(i64, i64)>,
    /// Whether they were to follow the last gap.
    pub(crate) all_keys: bool,
    pub(crate) resets: usize,
    pub(crate) listed: usize,
    /// Keys of a listing that is under way; what is not among them at its end is gone.
    listing: BTreeSet<Vec<u8>>,
}

impl Follower {
    pub(crate) fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Key(entry) => {
                self.listing.insert(entry.key.clone());
                self.state.insert(entry.key, (entry.value, entry.mod_revision));
            }
            Notice::Listed { keys, .. } => {
                let listing = std::mem::take(&mut self.listing);
                if listing.len() as u64 == keys && keys > 0 {
                    self.state.retain(|key, _| listing.contains(key));
                }
                self.listed += 1;
            }
            Notice::Event(event) => {
                if event.is_difference {
                    self.differences.push(event.clone());
                } else {
                    self.events.push((event.kv.mod_revision, event.kv.key.clone()));
                }
                match event.kind {
                    EventKind::Put => drop(self.state.insert(event.kv.key, (event.kv.value, event.kv.mod_revision))),
                    EventKind::Delete => assert!(self.state.remove(&event.kv.key).is_some(), "{:?}", event.kv),
                }
            }
            Notice::Gap { from, to, all_keys } => {
                self.gaps.push((from, to));
                self.all_keys = all_keys;
                if all_keys {
                    self.state.clear();
                }
                self.listing.clear();
            }
            Notice::Reset { .. } => {
                self.resets += 1;
                self.state.clear();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Hears until the end of all keys was written.
    pub(crate) async fn until_end(&mut self, watch: &mut Watch) {
        let is_end = |key: &[u8]| key.ends_with(END.as_bytes());
        let mut has_ended = self.state.keys().any(|key| is_end(key));
        while !has_ended {
            let notice = soon(watch.recv()).await.unwrap();
            has_ended = match &notice {
                Notice::Key(entry) => is_end(&entry.key),
                Notice::Event(event) => event.kind == EventKind::Put && is_end(&event.kv.key),
                _ => false,
            };
            self.hear(notice);
        }
    }

    pub(crate) async fn until_listed(&mut self, watch: &mut Watch) {
        let before = self.listed;
        while self.listed == before {
            self.hear(soon(watch.recv()).await.unwrap());
        }
    }

    pub(crate) fn agrees_with(&self, contents: &Contents) {
        assert!(self.state == *contents, "{} keys were told of, there are {}", self.state.len(), contents.len());
    }
}
