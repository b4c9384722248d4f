//! What is on the screen, and how it changes. Has no terminal and sends no requests.

mod acting;

use std::time::{Duration, Instant};

use etcd_keys::text::Escaped;
use etcd_keys::watch::{EventKind, EventRef};
use etcd_keys::{Error, KeyRange};

pub(super) use self::acting::Command;
use super::folder::Folder;
use super::listing::{Listing, Update};
use super::reading::{Answer, Wanted};
use super::value::Value;

/// The rows that are not for keys: title, path, message, help.
const OTHER_ROWS: u16 = 4;
/// After an error, nothing is read for this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A value on the screen, in lines that fit.
pub(super) struct Shown {
    pub(super) value: Value,
    pub(super) lines: Vec<String>,
    /// The first line that is shown.
    pub(super) scroll: usize,
}

pub(super) struct View {
    pub(super) endpoint: String,
    /// Whether keys may be deleted.
    pub(super) can_write: bool,
    pub(super) has_colours: bool,
    /// Columns and rows of the terminal.
    size: (u16, u16),
    pub(super) folder: Folder,
    /// The folders that led here.
    above: Vec<Folder>,
    /// The selected key.
    value: Option<Shown>,
    /// The number of keys in the selected folder, with the revision.
    count: Option<(Vec<u8>, Option<i64>, i64)>,
    /// Whether the value has the whole screen.
    is_wide: bool,
    /// The value is to be read again.
    is_stale: bool,
    /// The lists over the folder; the last one is shown.
    lists: Vec<Listing>,
    /// A key of the list at a revision of the past, and its value.
    past: Option<(Vec<u8>, i64)>,
    past_value: Option<Shown>,
    /// The text that is typed to search for.
    pub(super) prompt: Option<String>,
    pub(super) is_help: bool,
    message: Option<String>,
    /// Whether the last request failed, and until when no other is sent.
    is_failing: bool,
    retry_at: Option<Instant>,
}

impl View {
    pub(super) fn new(folder: Folder, endpoint: String, can_write: bool) -> Self {
        Self {
            endpoint,
            can_write,
            has_colours: crate::output::may_use_colours(),
            size: (0, 0),
            folder,
            above: Vec::new(),
            value: None,
            count: None,
            is_wide: false,
            is_stale: false,
            lists: Vec::new(),
            past: None,
            past_value: None,
            prompt: None,
            is_help: false,
            message: None,
            is_failing: false,
            retry_at: None,
        }
    }

    /// What is to be read next. After an error: nothing for a while.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        if self.retry_at.is_some() {
            return None;
        }
        if let Some((key, revision)) = self.past.as_ref().filter(|_| self.past_value.is_none()) {
            return Some(Wanted::Value(key.clone(), *revision));
        }
        if let Some(range) = self.folder.missing() {
            return Some(Wanted::Keys(range));
        }
        if let Some(key) = self.folder.selected_key() {
            let is_known = !self.is_stale && self.value.as_ref().is_some_and(|shown| shown.value.key == key);
            return (!is_known).then(|| Wanted::Value(key.to_vec(), 0)).or_else(|| self.wanted_count());
        }
        self.wanted_count()
    }

    fn wanted_count(&self) -> Option<Wanted> {
        let selected = self.folder.selected().filter(|name| name.is_folder).map(|name| name.bytes.as_slice());
        let is_known = |folder: &&[u8]| self.count.as_ref().is_some_and(|(counted, ..)| counted == folder);
        let wanted = self.folder.doubtful().or(selected.filter(|folder| !is_known(folder)))?;
        Some(Wanted::Count(wanted.to_vec()))
    }

    pub(super) fn take(&mut self, answer: Answer, now: Instant) {
        if std::mem::take(&mut self.is_failing) {
            self.message = None;
        }
        match answer {
            Answer::Keys(keys, count, revision) => self.folder.take(&keys, count, revision),
            Answer::Value(value, 0) => {
                let is_same = |shown: &&Shown| shown.value.key == value.key;
                let scroll = self.value.as_ref().filter(is_same).map_or(0, |shown| shown.scroll);
                (self.value, self.is_stale) = (Some(Shown { value, lines: Vec::new(), scroll }), false);
                self.lay_out();
            }
            Answer::Value(value, _) => {
                self.past_value = Some(Shown { value, lines: Vec::new(), scroll: 0 });
                self.lay_out();
            }
            Answer::Count(folder, count, revision) => {
                self.folder.take_count(&folder, count, now);
                self.count = Some((folder, count, revision));
            }
        }
    }

    /// A request failed. It is sent again after a while.
    pub(super) fn fail(&mut self, error: &Error, now: Instant) {
        // What matters comes first: a row is short.
        self.message = Some(match error.kind.is_transient() {
            true => format!("{} at {}; trying again", error.kind, self.endpoint),
            false => format!("{}; cannot {}", error.kind, error.operation),
        });
        (self.is_failing, self.retry_at) = (true, Some(now + RETRY_AFTER));
        // A value of the past may be compacted.
        if self.past_value.is_none() {
            self.past = None;
        }
    }

    pub(super) fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// A key has changed that may be on the screen.
    pub(super) fn change(&mut self, event: EventRef<'_>, now: Instant) {
        let (kv, is_put) = (event.kv(), event.kind() == EventKind::Put);
        let is_new = is_put && kv.version() == 1;
        self.folder.change(kv.key(), event.kind(), is_new, now);
        if let Some((folder, Some(count), revision)) = &mut self.count
            && kv.key().starts_with(folder)
            && kv.mod_revision() > *revision
        {
            *count += i64::from(is_new) - i64::from(!is_put);
        }
        if let Some(shown) = self.value.as_mut().filter(|shown| shown.value.key == kv.key()) {
            shown.value.change(is_put.then(|| kv.to_owned()), kv.mod_revision());
            self.lay_out();
        }
    }

    /// More of the list.
    pub(super) fn take_rows(&mut self, update: Update) {
        if let Some(listing) = self.lists.last_mut().filter(|listing| listing.is_reading()) {
            listing.take(update);
        }
    }

    /// The list that is shown.
    pub(super) fn listing(&self) -> Option<&Listing> {
        self.lists.last()
    }

    /// Reads everything on the screen again.
    pub(super) fn reload(&mut self) {
        (self.is_stale, self.count) = (true, None);
        self.folder.reload();
    }

    /// The keys to watch, and the revision at which they were read.
    pub(super) fn shown_range(&self) -> Option<(KeyRange, i64)> {
        self.folder.shown_range()
    }

    /// When the screen changes by itself.
    pub(super) fn next_change(&self) -> Option<Instant> {
        [self.folder.next_end(), self.retry_at].into_iter().flatten().min()
    }

    /// What is over by now.
    pub(super) fn pass_time(&mut self, now: Instant) {
        self.folder.end_highlights(now);
        self.retry_at = self.retry_at.filter(|at| now < *at);
    }

    /// Columns and rows of the terminal.
    pub(super) fn resize(&mut self, size: (u16, u16)) {
        if self.size != size {
            self.size = size;
            self.folder.resize(usize::from(size.1.saturating_sub(OTHER_ROWS)));
            self.lay_out();
        }
    }

    /// The columns for the value.
    pub(super) fn value_width(&self) -> usize {
        let columns = usize::from(self.size.0);
        if self.is_wide() { columns } else { columns - self.list_width() - usize::from(columns > 0) }
    }

    /// Whether the value has the whole screen.
    pub(super) fn is_wide(&self) -> bool {
        self.is_wide && self.folder.selected_key().is_some()
    }

    /// The columns for the list beside a value.
    pub(super) fn list_width(&self) -> usize {
        usize::from(self.size.0) * 45 / 100
    }

    fn lay_out(&mut self) {
        let (width, whole) = (self.value_width(), usize::from(self.size.0));
        for (shown, width) in [(&mut self.value, width), (&mut self.past_value, whole)] {
            if let Some(shown) = shown {
                shown.lines = shown.value.wrapped(width);
                shown.scroll = shown.scroll.min(shown.lines.len().saturating_sub(1));
            }
        }
    }

    /// The value of the selected key, once it is known.
    pub(super) fn value(&self) -> Option<&Shown> {
        let selected = self.folder.selected_key();
        self.value.as_ref().filter(|shown| selected == Some(&shown.value.key))
    }

    /// A value of the past, over the list.
    pub(super) fn past_value(&self) -> Option<&Shown> {
        self.past_value.as_ref()
    }

    /// The folder, or the selected name in it.
    pub(super) fn path(&self) -> String {
        Escaped(self.folder.selected().map_or(self.folder.prefix(), |name| &name.bytes)).to_string()
    }

    /// What is known of the selected folder.
    pub(super) fn about_folder(&self) -> Option<String> {
        let selected = self.folder.selected().filter(|name| name.is_folder)?;
        let (_, count, _) = self.count.as_ref().filter(|(folder, ..)| *folder == selected.bytes)?;
        Some(count.map_or_else(|| "many keys".to_owned(), |count| crate::output::keys(count.unsigned_abs())))
    }

    /// The line above the help: a message, or what has happened to the selected key.
    pub(super) fn message(&self) -> String {
        let change = self.value().and_then(|shown| shown.value.change.clone());
        let is_empty = self.folder.lines().is_empty() && self.folder.missing().is_none();
        let empty = is_empty.then(|| "no keys here; Left goes to the folder above".to_owned());
        self.message.clone().or(change).or(empty).unwrap_or_default()
    }

    /// The same line below a list.
    pub(super) fn list_message(&self, listing: &Listing) -> String {
        self.message.clone().unwrap_or_else(|| listing.about())
    }
}
