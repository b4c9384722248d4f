//! A list that is read in the background: the history of keys, how keys differ between two revisions, or keys that were
//! found. Has no more than 1,000 rows.

use std::collections::VecDeque;

use etcd_keys::KeyRange;
use etcd_keys::text::Escaped;

use crate::output::counted;

/// How many rows are kept.
const MOST: usize = 1_000;

/// What is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The changes that etcd still has. The last ones are kept.
    History(KeyRange),
    /// The keys that differ between two revisions; 0 is the newest. The first ones are kept.
    Difference(KeyRange, i64, i64),
    /// The keys of a folder whose names contain a text. The first ones are kept.
    Search(Vec<u8>, Vec<u8>),
}

pub(super) struct Row {
    pub(super) key: Vec<u8>,
    /// The revision of a change; else 0.
    pub(super) revision: i64,
    pub(super) text: String,
}

/// What the background found.
pub(super) enum Update {
    /// More rows, and how many keys or changes were read so far.
    Rows(Vec<Row>, u64),
    /// The end, with a note if not all is there.
    End(Option<String>),
    Failed(String),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Reading,
    Stopped,
    Ended(Option<String>),
}

pub(super) struct Listing {
    pub(super) source: Source,
    pub(super) rows: VecDeque<Row>,
    pub(super) selected: usize,
    /// The revision to compare another one with.
    pub(super) marked: Option<i64>,
    read: u64,
    dropped: u64,
    state: State,
}

impl Listing {
    pub(super) fn new(source: Source) -> Self {
        let (rows, state) = (VecDeque::new(), State::Reading);
        Self { source, rows, selected: 0, marked: None, read: 0, dropped: 0, state }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.state == State::Reading
    }

    /// Whether each row is a change at a revision.
    pub(super) fn has_revisions(&self) -> bool {
        matches!(self.source, Source::History(_))
    }

    /// Keeps what was read so far.
    pub(super) fn stop(&mut self) {
        self.state = State::Stopped;
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    pub(super) fn take(&mut self, update: Update) {
        let (rows, read) = match update {
            Update::Rows(rows, read) => (rows, read),
            Update::End(note) => return self.state = State::Ended(note),
            Update::Failed(error) => return self.state = State::Ended(Some(error)),
        };
        self.read = read;
        // While the newest change is selected, it stays the newest.
        let is_at_end = self.selected + 1 >= self.rows.len();
        self.rows.extend(rows);
        if self.has_revisions() {
            let many = self.rows.len().saturating_sub(MOST);
            self.rows.drain(..many);
            self.dropped += many as u64;
            self.selected =
                if is_at_end { self.rows.len().saturating_sub(1) } else { self.selected.saturating_sub(many) };
        } else if self.rows.len() >= MOST {
            self.rows.truncate(MOST);
            self.state = State::Ended(Some(format!("only the first {MOST} are shown")));
        }
    }

    /// Moves the selection by so many rows.
    pub(super) fn go(&mut self, rows: isize) {
        self.selected = self.selected.saturating_add_signed(rows).min(self.rows.len().saturating_sub(1));
    }

    /// What is listed, and how far it is.
    pub(super) fn about(&self) -> String {
        let (rows, read) = (self.rows.len() as u64 + self.dropped, self.read);
        let found = match &self.source {
            Source::History(_) => counted(rows, "change"),
            Source::Difference(..) if rows == 1 => "1 key differs".to_owned(),
            Source::Difference(..) => format!("{rows} keys differ"),
            Source::Search(_, text) => format!("{rows} of {read} keys contain `{}`", Escaped(text)),
        };
        let dropped = if self.dropped > 0 { format!(", the last {MOST} are shown") } else { String::new() };
        let state = match &self.state {
            State::Reading => "; reading, Esc stops".to_owned(),
            State::Stopped => "; stopped".to_owned(),
            State::Ended(note) => note.iter().map(|note| format!("; {note}")).collect(),
        };
        format!("{found}{dropped}{state}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: std::ops::Range<i64>) -> Update {
        let read = numbers.end.unsigned_abs();
        let row = |revision| Row { key: b"k".to_vec(), revision, text: revision.to_string() };
        Update::Rows(numbers.map(row).collect(), read)
    }

    #[test]
    fn a_history_keeps_the_last_changes_and_a_search_the_first_keys() {
        let mut history = Listing::new(Source::History(KeyRange::all()));
        history.take(rows(0..900));
        assert_eq!(history.selected().unwrap().revision, 899);
        history.take(rows(900..1_800));
        assert_eq!((history.rows.len(), history.selected().unwrap().revision), (MOST, 1_799));
        history.go(-5);
        history.take(rows(1_800..1_900));
        history.take(Update::End(None));
        assert_eq!(history.selected().unwrap().revision, 1_794, "what is selected stays");
        assert_eq!(history.about(), "1900 changes, the last 1000 are shown");
        let mut search = Listing::new(Source::Search(b"/a/".to_vec(), b"x".to_vec()));
        search.take(rows(0..900));
        assert!(search.is_reading() && search.about() == "900 of 900 keys contain `x`; reading, Esc stops");
        search.take(rows(900..1_800));
        assert!(!search.is_reading());
        assert_eq!((search.rows.len(), search.selected().unwrap().revision), (MOST, 0));
    }
}
