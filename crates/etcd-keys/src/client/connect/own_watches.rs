//! Where a connection's watches began, for who reads the history of keys: a watch that began after a write never tells of it.
//! Off unless [`Connect::remember_watches`](super::Connect::remember_watches) asks for it. Sends nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::client::connect::Connection;
use crate::client::range::KeyRange;

/// A watch from its beginning on: neither of existing keys nor from a revision that the caller chose.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnWatch {
    /// The watched keys, with full names.
    pub range: KeyRange,
    /// The watch tells of the changes after this revision.
    pub revision: i64,
    /// When it began.
    pub began: Instant,
}

/// Remembers the last of them.
pub(crate) struct OwnWatches {
    last: Mutex<VecDeque<OwnWatch>>,
    most: usize,
}

impl OwnWatches {
    pub(crate) fn new(most: usize) -> Self {
        Self { last: Mutex::default(), most }
    }
}

impl Connection {
    /// The last of the connection's watches that told of new changes only. None if it does not remember them; see
    /// [`Connect::remember_watches`](crate::Connect::remember_watches).
    #[must_use]
    pub fn own_watches(&self) -> Vec<OwnWatch> {
        let Some(OwnWatches { last, .. }) = &self.shared.own_watches else { return Vec::new() };
        last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn watch_began(&self, range: &KeyRange, revision: i64) {
        let Some(OwnWatches { last, most }) = &self.shared.own_watches else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == *most {
            last.pop_front();
        }
        last.push_back(OwnWatch { range: range.clone(), revision, began: Instant::now() });
    }
}
