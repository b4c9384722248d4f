//! How far a watch has come. A revision may have many events and may arrive in several messages, which nothing marks. So
//! a position counts the events of its revision, and a resumed watch skips that many. No I/O.

/// The last event that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    revision: i64,
    seen: Seen,
    /// How many of the next events were already delivered, on another connection.
    replay: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// All events of the revision.
    All,
    /// This many events, the last of them with this key. There may be more.
    Some(usize, Vec<u8>),
}

/// A resumed watch sent other events than before: some events were lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

impl Position {
    /// The position after all events of a revision.
    pub(super) fn after(revision: i64) -> Self {
        Self { revision, seen: Seen::All, replay: 0 }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The first revision that may have events that were not delivered.
    pub(super) fn next(&self) -> i64 {
        match self.seen {
            Seen::All => self.revision + 1,
            Seen::Some(..) => self.revision,
        }
    }

    /// A new watch begins at [`Position::next`]: delivered events of that revision come again.
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

    /// Takes the events of a message, as (revision, key) in order. Returns how many events at the beginning to skip.
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

    /// An event that was delivered before. The last of them must have the same key as then.
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
    fn a_revision_in_several_messages_is_resumed_where_it_stopped() {
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
    fn lost_events_are_noticed() {
        for events in ["a@5 c@5", "a@5 b@6", "c@6"] {
            let mut position = Position::after(4);
            take(&mut position, "a@5 b@5").unwrap();
            position.resume();
            assert_eq!(take(&mut position, events), Err(Mismatch), "{events}");
        }
    }

    #[test]
    fn events_before_the_start_are_dropped() {
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
