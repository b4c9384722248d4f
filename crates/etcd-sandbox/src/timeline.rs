//! The timeline of a failed test, as text: what happened to its keys, in order, with the test's notes, and the keys as they
//! are now. At most 60 lines, unless the notes are long: of a long history the beginning, the end, and what is around the last
//! of the test's own notes, such as an expectation that failed.

pub(crate) mod file;
mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::time::Duration;

use etcd_keys::difference::ValueChange;
use etcd_keys::text::Escaped;
use etcd_keys::watch::{Event, EventKind};
use etcd_keys::{Error, ErrorKind, KeyRange, Keys, LeaseId, Redaction, kv};

use crate::timeline::file::{Tail, TimelineFile};
use crate::timeline::writer::Writer;

/// How many changes are shown from the beginning.
const FIRST: usize = 12;
/// How many changes and notes are shown from the end.
const LAST: usize = 20;
/// How many changes and notes are shown before and after the last of the test's own notes.
const AROUND: usize = 4;
/// How many keys are shown.
const KEYS: usize = 12;
/// How many leases are looked up for the report, to tell whether they have ended.
const LEASES: usize = 1000;
/// About how many characters of a value are shown.
const WIDTH: usize = 60;

/// A word on the timeline: a mark, an event, or an expectation that failed.
#[derive(Clone)]
pub(crate) struct Note {
    /// The newest revision at that time.
    pub(crate) revision: i64,
    pub(crate) time: Duration,
    pub(crate) text: String,
    /// Whether it is an event of `tracing` or of a member of the test's etcd, of which there can be many.
    pub(crate) is_event: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.text.lines();
        writeln!(f, "  -- {:.3} s: {}", self.time.as_secs_f64(), lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| writeln!(f, "     {line}"))
    }
}

/// Reads the history of a range since a revision, and draws it with the notes, which are in order. All of it goes to the file,
/// if there is one.
pub(crate) async fn read(
    keys: &Keys,
    range: KeyRange,
    redaction: &Redaction,
    since: i64,
    notes: Vec<Note>,
    mut file: TimelineFile,
) -> Result<String, Error> {
    let mut history = keys.history(range.clone()).from_revision(since).redact(redaction.clone());
    let mut lines = Lines { own_notes: notes.iter().filter(|note| !note.is_event).count(), ..Lines::default() };
    let (mut notes, mut previous) = (VecDeque::from(notes), 0);
    let (mut leases, mut own) = (BTreeSet::new(), None);
    while let Some(event) = history.try_next().await? {
        let revision = event.kv.mod_revision;
        while notes.front().is_some_and(|note| note.revision < revision)
            && let Some(note) = notes.pop_front()
        {
            file.note(note.revision, note.time, &note.text);
            lines.push(Line::Note(note));
        }
        let lease = lease_of(&event);
        // Asked when the end of the history is known: own writes up to there have begun.
        let own = own.get_or_insert_with(|| keys.connection().own_revisions());
        let writer = Writer::of(&event, lease, own.as_ref());
        file.change(&event, lease, writer);
        if event.kind == EventKind::Delete && file.is_wanted() && leases.len() < LEASES {
            leases.extend(lease);
        }
        let is_same_transaction = std::mem::replace(&mut previous, revision) == revision;
        lines.push(Line::Change(Box::new(Change { event, is_same_transaction, writer })));
    }
    for note in notes {
        file.note(note.revision.min(history.last_revision()), note.time, &note.text);
        lines.push(Line::Note(note));
    }
    lines.find_ended_leases(leases, keys).await?;
    let now = keys.send(kv::Get::range(range).limit(KEYS as i64)).await?;

    let mut text = String::new();
    let prefix = Escaped(keys.namespace().prefix());
    let _ = writeln!(
        text,
        "what happened under `{prefix}`, by etcd's history ({}{}):",
        counted(lines.changes, "change"),
        lines.writers()
    );
    if history.first_revision() > since {
        let _ = writeln!(text, "  (what happened before revision {} is compacted)", history.first_revision());
    }
    if lines.changes == 0 {
        let _ = writeln!(text, "  nothing was written here: does the code under test use this prefix?");
    }
    let _ = write!(text, "{lines}");
    let _ = writeln!(text, "  now: {}", counted(now.count, "key"));
    for kv in &now.kvs {
        let full = [keys.namespace().prefix(), &kv.key].concat();
        let (_, after) = redaction.shown(&full, None, Some(&kv.value));
        let value = ValueChange { before: None, after, width: WIDTH };
        let _ = writeln!(text, "    {} = {value}", Escaped(&kv.key));
    }
    let left = now.count.saturating_sub(now.kvs.len() as i64);
    if left > 0 {
        let _ = writeln!(text, "    and {left} more");
    }
    let tail = Tail {
        first_revision: history.first_revision(),
        last_revision: history.last_revision(),
        is_compacted: history.first_revision() > since,
        ended_leases: lines.ended_leases.iter().map(ToString::to_string).collect(),
        keys: now.count,
    };
    if let Err(error) = file.finish(&tail) {
        let _ = writeln!(text, "  (the report of the run does not have this timeline: {error})");
    }
    Ok(text)
}

/// The last notes, for a test whose etcd is gone.
pub(crate) fn without_changes(notes: &[Note]) -> String {
    let last = notes.len().saturating_sub(LAST);
    notes.iter().skip(last).map(Note::to_string).collect()
}

fn counted(count: i64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// The lines that are shown.
#[derive(Default)]
struct Lines {
    /// By their places on the whole timeline, each with the number of changes before it.
    kept: BTreeMap<usize, (i64, Line)>,
    /// How many lines the whole timeline has so far.
    count: usize,
    /// How many of the test's own notes are still to come.
    own_notes: usize,
    /// The place of the last of them.
    last_note: Option<usize>,
    has_own: bool,
    has_others: bool,
    has_unknown: bool,
    /// Of those whose keys are deleted.
    ended_leases: BTreeSet<LeaseId>,
    changes: i64,
}

enum Line {
    Change(Box<Change>),
    Note(Note),
}

struct Change {
    event: Event,
    /// Whether it is of the same transaction as the one before.
    is_same_transaction: bool,
    writer: Writer,
}

impl Lines {
    fn push(&mut self, line: Line) {
        let before = self.changes;
        match &line {
            Line::Change(change) => {
                self.changes += 1;
                self.has_own |= change.writer == Writer::OwnConnection;
                self.has_others |= change.writer == Writer::AnotherConnection;
                self.has_unknown |= change.writer == Writer::Unknown;
            }
            Line::Note(note) if note.is_event => {}
            Line::Note(_) => {
                self.own_notes -= 1;
                self.last_note = Some(self.count).filter(|_| self.own_notes == 0);
            }
        }
        self.kept.insert(self.count, (before, line));
        self.count += 1;
        let is_kept = |place| place < FIRST || self.last_note.is_some_and(|note| note.abs_diff(place) <= AROUND);
        if let Some(place) = self.count.checked_sub(LAST + 1).filter(|place| !is_kept(*place)) {
            self.kept.remove(&place);
        }
    }

    /// A key of a lease that has ended was probably deleted by it. Looks at the leases of the lines, and at `leases`.
    async fn find_ended_leases(&mut self, leases: BTreeSet<LeaseId>, keys: &Keys) -> Result<(), Error> {
        let deletions = self.kept.values().filter_map(|(_, line)| match line {
            Line::Change(change) if change.event.kind == EventKind::Delete => lease_of(&change.event),
            _ => None,
        });
        for lease in deletions.chain(leases).collect::<BTreeSet<_>>() {
            match keys.lease(lease).remaining().await {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NoLease => drop(self.ended_leases.insert(lease)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// For the first line, if no change is of the sandbox's own connection, as where the code under test has its own client.
    fn writers(&self) -> &'static str {
        if self.has_others && !self.has_own && !self.has_unknown {
            ", none by the sandbox's own connection"
        } else {
            ""
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, line: &Line) -> fmt::Result {
        match line {
            Line::Change(change) => {
                let Change { event, is_same_transaction, writer } = &**change;
                let Event { kind, kv, prev_kv, .. } = event;
                let place =
                    if *is_same_transaction { "  same txn".to_owned() } else { format!("rev {}", kv.mod_revision) };
                let (word, after) = match kind {
                    EventKind::Put => ("PUT", Some(kv.value.as_slice())),
                    EventKind::Delete => ("DEL", None),
                };
                let before = prev_kv.as_ref().map(|kv| kv.value.as_slice());
                let change = ValueChange { before, after, width: WIDTH };
                write!(f, "  {place:<10} {word} {} {change}", Escaped(&kv.key))?;
                match lease_of(event) {
                    Some(lease) if *kind == EventKind::Delete && self.ended_leases.contains(&lease) => {
                        return writeln!(f, " by the end of lease {lease}");
                    }
                    Some(lease) => write!(f, " lease {lease}")?,
                    None => {}
                }
                // The first line of a transaction says who wrote it.
                let says_so = writer.is_another() && !is_same_transaction && (self.has_own || self.has_unknown);
                writeln!(f, "{}", if says_so { " by another connection" } else { "" })
            }
            Line::Note(note) => write!(f, "{note}"),
        }
    }
}

/// The lease of the key, after the change or before its deletion.
fn lease_of(Event { kv, prev_kv, .. }: &Event) -> Option<LeaseId> {
    kv.lease.or_else(|| prev_kv.as_ref()?.lease)
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // How many lines and changes were written or left out so far.
        let (mut lines, mut changes) = (0, 0);
        for (place, (before, line)) in &self.kept {
            if *place > lines {
                let left_out = before - changes;
                let counts = [(left_out, "change"), ((place - lines) as i64 - left_out, "note")];
                let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, one)| counted(count, one));
                writeln!(f, "  … {} not shown …", counts.collect::<Vec<_>>().join(" and "))?;
            }
            self.write(f, line)?;
            (lines, changes) = (place + 1, before + i64::from(matches!(line, Line::Change(..))));
        }
        Ok(())
    }
}
