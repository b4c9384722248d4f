//! The revisions of a connection's own writes, for who reads the history of keys: etcd does not record who wrote. Off unless
//! [`Connect::remember_writes`](super::connect::Connect::remember_writes) asks for it. Sends nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::error::{Error, ErrorKind};

/// Remembers the last of them. A write allocates nothing.
pub(crate) struct OwnWrites(Mutex<Memory>);

struct Memory {
    /// At most as many as its first capacity; the newest is last.
    revisions: VecDeque<i64>,
    most: usize,
    /// The connection may have forgotten own writes up to this revision.
    forgotten: i64,
    /// The newest revision of an own write.
    newest: i64,
    /// For each write that waits for its answer, the newest revision when it began.
    running: Vec<i64>,
    /// A write whose result is not known may have any revision after this one.
    unknown_after: i64,
}

impl OwnWrites {
    pub(crate) fn new(most: usize) -> Self {
        Self(Mutex::new(Memory {
            revisions: VecDeque::with_capacity(most),
            most,
            forgotten: 0,
            newest: 0,
            running: Vec::new(),
            unknown_after: i64::MAX,
        }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> OwnRevisions {
        let memory = self.memory();
        let mut revisions: Vec<i64> = memory.revisions.iter().copied().collect();
        revisions.sort_unstable();
        let unknown_after = memory.running.iter().copied().fold(memory.unknown_after, i64::min);
        OwnRevisions { revisions, forgotten: memory.forgotten, unknown_after, newest: memory.newest }
    }

    /// From now on, others write through the connection: nothing is known of their writes.
    pub(crate) fn lose_track(&self) {
        let mut memory = self.memory();
        memory.unknown_after = memory.unknown_after.min(memory.newest);
    }
}

/// A write that waits for its answer. If it is dropped before, its result is not known.
#[must_use = "a write that is dropped has an unknown result"]
pub(crate) struct RunningWrite<'a> {
    /// `None`: the writes of the connection are not remembered.
    writes: Option<&'a OwnWrites>,
    began_at: i64,
    is_known: bool,
}

impl<'a> RunningWrite<'a> {
    pub(crate) fn begin(writes: Option<&'a OwnWrites>) -> Self {
        let began_at = writes.map_or(0, |writes| {
            let mut memory = writes.memory();
            let newest = memory.newest;
            memory.running.push(newest);
            newest
        });
        Self { writes, began_at, is_known: false }
    }

    /// The write has this revision. `None`: it wrote nothing.
    pub(crate) fn wrote(mut self, revision: Option<i64>) {
        self.is_known = true;
        if let (Some(writes), Some(revision)) = (self.writes, revision) {
            let mut memory = writes.memory();
            if memory.revisions.len() == memory.most
                && let Some(oldest) = memory.revisions.pop_front()
            {
                memory.forgotten = memory.forgotten.max(oldest);
            }
            memory.revisions.push_back(revision);
            memory.newest = memory.newest.max(revision);
        }
    }

    /// The write failed, perhaps after etcd did it.
    pub(crate) fn failed(mut self, error: &Error) {
        use ErrorKind::{Denied, Invalid, NoKey, NoLease, NoSpace, TooLarge, UsersChanged};

        self.is_known =
            matches!(error.kind, Denied(_) | Invalid(_) | NoKey | NoLease | NoSpace | TooLarge(_) | UsersChanged);
    }
}

impl Drop for RunningWrite<'_> {
    fn drop(&mut self) {
        let Some(writes) = self.writes else { return };
        let mut memory = writes.memory();
        // Which of several that began at the same revision does not matter.
        if let Some(place) = memory.running.iter().position(|began_at| *began_at == self.began_at) {
            memory.running.swap_remove(place);
        }
        if !self.is_known {
            memory.unknown_after = memory.unknown_after.min(self.began_at);
        }
    }
}

/// Which revisions are a connection's own writes, as far as it knows.
#[derive(Clone, Debug)]
pub struct OwnRevisions {
    /// In order.
    revisions: Vec<i64>,
    forgotten: i64,
    unknown_after: i64,
    newest: i64,
}

impl OwnRevisions {
    /// The newest revision that the connection wrote; 0 if it wrote nothing.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether the connection wrote this revision. `None`: it is not known, as of a revision that is older than those that
    /// the connection remembers, or after a write whose result is not known.
    ///
    /// Keys that are deleted because their lease ended do not count.
    #[must_use]
    pub fn contain(&self, revision: i64) -> Option<bool> {
        if self.revisions.binary_search(&revision).is_ok() {
            return Some(true);
        }
        (revision > self.forgotten && revision <= self.unknown_after).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::Operation;

    fn begin(writes: &OwnWrites) -> RunningWrite<'_> {
        RunningWrite::begin(Some(writes))
    }

    fn shown(writes: &OwnWrites, revisions: std::ops::RangeInclusive<i64>) -> String {
        let known = writes.known();
        let letter = |revision| match known.contain(revision) {
            Some(true) => 'o',
            Some(false) => 'x',
            None => '?',
        };
        revisions.map(letter).collect()
    }

    #[test]
    fn the_last_writes_are_remembered() {
        let writes = OwnWrites::new(3);
        [2, 3, 5].into_iter().for_each(|revision| begin(&writes).wrote(Some(revision)));
        begin(&writes).wrote(None);
        assert_eq!(shown(&writes, 1..=6), "xooxox");
        begin(&writes).wrote(Some(7));
        assert_eq!(shown(&writes, 1..=8), "??oxoxox", "2 is forgotten");
        assert_eq!(writes.known().newest(), 7);
    }

    #[test]
    fn after_a_write_whose_result_is_not_known_only_own_writes_are_certain() {
        let error = |kind| Error { operation: Operation::Commit, endpoint: "e".into(), kind, source: None };
        let writes = OwnWrites::new(9);
        begin(&writes).wrote(Some(2));
        begin(&writes).failed(&error(ErrorKind::NoLease));
        assert_eq!(shown(&writes, 1..=4), "xoxx", "etcd refused a write");
        let (waiting, other) = (begin(&writes), begin(&writes));
        other.wrote(Some(4));
        assert_eq!(shown(&writes, 1..=6), "xo?o??", "a write waits for its answer");
        waiting.wrote(Some(3));
        assert_eq!(shown(&writes, 1..=6), "xoooxx");
        begin(&writes).failed(&error(ErrorKind::TimedOut));
        begin(&writes).wrote(Some(6));
        assert_eq!(shown(&writes, 1..=8), "xooo?o??");
        let dropped = OwnWrites::new(9);
        drop(begin(&dropped));
        assert_eq!(shown(&dropped, 1..=2), "??");
    }

    #[test]
    fn a_connection_that_others_use_knows_no_more() {
        let writes = OwnWrites::new(9);
        begin(&writes).wrote(Some(2));
        writes.lose_track();
        begin(&writes).wrote(Some(4));
        assert_eq!(shown(&writes, 1..=5), "xo?o?");
    }
}
