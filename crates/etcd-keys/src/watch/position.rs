//! How far a watch has come. A revision may hold many events, and large ones arrive in pieces that nothing
//! tells apart: a position counts within its revision, and a resumed watch skips what it had. Pure.

/// The last event that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    revision: i64,
    seen: Seen,
    /// Events to come that were delivered before, on another connection.
    replay: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// All events of the revision.
    All,
    /// So many, the last one of this key; there may be more.
    Some(usize, Vec<u8>),
}

/// What came instead of what was delivered before: some of it must have been lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

impl Position {
    /// After all events of a revision.
    pub(super) fn after(revision: i64) -> Self {
        Self { revision, seen: Seen::All, replay: 0 }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The first revision of which something is not delivered yet, perhaps.
    pub(super) fn next(&self) -> i64 {
        match self.seen {
            Seen::All => self.revision + 1,
            Seen::Some(..) => self.revision,
        }
    }

    /// A new watch begins at [`Position::next`]: what was delivered of that revision comes again.
    pub(super) fn resume(&mut self) {
        self.replay = match self.seen {
            Seen::All => 0,
            Seen::Some(count, _) => count,
        };
    }

    /// The server says that all events up to a revision were sent.
    pub(super) fn reached(&mut self, revision: i64) {
        if revision > self.revision || (revision == self.revision && self.replay == 0) {
            *self = Self::after(revision);
        }
    }

    /// Takes the events of a message in, as (revision, key) in order; answers how many at its beginning are
    /// not new.
    pub(super) fn take<'a>(&mut self, events: impl Iterator<Item = (i64, &'a [u8])>) -> Result<usize, Mismatch> {
        let mut old = 0;
        let mut last = None;
        let mut count = match self.seen {
            Seen::All => 0,
            Seen::Some(count, _) => count,
        };
        for (revision, key) in events {
            if revision < self.next() && last.is_none() {
                old += 1;
                continue;
            }
            if self.replay > 0 {
                self.replayed(revision, key)?;
                old += 1;
                continue;
            }
            count = if revision == self.revision { count + 1 } else { 1 };
            self.revision = revision;
            last = Some(key);
        }
        if let Some(key) = last {
            self.seen = Seen::Some(count, key.to_vec());
        }
        Ok(old)
    }

    /// One of those that were delivered before; the last one is to be the same.
    fn replayed(&mut self, revision: i64, key: &[u8]) -> Result<(), Mismatch> {
        self.replay -= 1;
        let same_key = match &self.seen {
            Seen::Some(_, last) => self.replay > 0 || last == key,
            Seen::All => true,
        };
        if revision == self.revision && same_key { Ok(()) } else { Err(Mismatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(position: &mut Position, events: &str) -> Result<usize, Mismatch> {
        let events = events.split_whitespace().map(|event| {
            let (key, revision) = event.split_once('@').unwrap();
            (revision.parse().unwrap(), key.as_bytes())
        });
        position.take(events)
    }

    #[test]
    fn a_revision_in_pieces_is_resumed_where_it_broke_off() {
        let mut position = Position::after(4);
        assert_eq!((take(&mut position, "a@5 b@5"), position.next()), (Ok(0), 5));
        assert_eq!(take(&mut position, "c@5"), Ok(0));
        position.resume();
        assert_eq!((take(&mut position, "a@5 b@5"), position.next()), (Ok(2), 5));
        assert_eq!(take(&mut position, "c@5 d@5 e@6"), Ok(1));
        position.resume();
        assert_eq!((take(&mut position, "e@6 f@6"), take(&mut position, "g@7")), (Ok(1), Ok(0)));
    }

    #[test]
    fn a_second_break_while_skipping_forgets_nothing() {
        let mut position = Position::after(4);
        take(&mut position, "a@5 b@5 c@5").unwrap();
        position.resume();
        take(&mut position, "a@5").unwrap();
        position.resume();
        assert_eq!(take(&mut position, "a@5 b@5 c@5 d@5"), Ok(3));
    }

    #[test]
    fn what_was_lost_is_noticed() {
        for events in ["a@5 c@5", "a@5 b@6", "c@6"] {
            let mut position = Position::after(4);
            take(&mut position, "a@5 b@5").unwrap();
            position.resume();
            assert_eq!(take(&mut position, events), Err(Mismatch), "{events}");
        }
    }

    #[test]
    fn what_is_older_than_asked_for_is_dropped() {
        let mut position = Position::after(4);
        assert_eq!(take(&mut position, "a@3 b@4 c@5"), Ok(2));
        assert_eq!(position.next(), 5);
    }

    #[test]
    fn progress_completes_a_revision_but_never_goes_back() {
        let mut position = Position::after(4);
        take(&mut position, "a@5").unwrap();
        position.reached(3);
        assert_eq!(position.next(), 5);
        position.reached(5);
        assert_eq!(position.next(), 6);
        position.reached(9);
        assert_eq!((position.next(), position.revision()), (10, 9));
    }
}
