//! One page of a folder: its lines, the selection, and what has just changed. Sends no requests: says which keys are
//! missing, and takes them.

use std::time::{Duration, Instant};

use etcd_keys::KeyRange;
use etcd_keys::watch::EventKind;

use super::cursor::{Cursor, Name};

/// How long a change is highlighted, and a deleted key still shown.
const HIGHLIGHT: Duration = Duration::from_secs(3);

/// What happened to a key, or to a key in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    New,
    Changed,
    Deleted,
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) name: Name,
    pub(super) mark: Option<(Mark, Instant)>,
    /// A folder that lost a key, and may be empty.
    is_doubtful: bool,
}

impl Child {
    fn new(name: Name) -> Self {
        Self { name, mark: None, is_doubtful: false }
    }
}

pub(super) struct Folder {
    prefix: Vec<u8>,
    children: Vec<Child>,
    /// The lines that are shown while they are read again.
    before: Vec<Child>,
    selected: usize,
    /// The name to select when the page is complete.
    wanted: Option<Vec<u8>>,
    rows: usize,
    /// The first key of this page and of those before it. This is all that stays of a page that is not shown.
    starts: Vec<Vec<u8>>,
    cursor: Cursor,
    /// The revision of the page's first answer; 0 before the answer.
    revision: i64,
}

impl Folder {
    pub(super) fn new(prefix: Vec<u8>, rows: usize) -> Self {
        let (start, cursor) = (prefix.clone(), Cursor::new(prefix.clone(), prefix.clone()));
        let (children, before, starts, rows) = (Vec::new(), Vec::new(), vec![start], rows.max(1));
        Self { prefix, children, before, selected: 0, wanted: None, rows, starts, cursor, revision: 0 }
    }

    /// The folder of a key or a folder, with this one selected, on top of the page.
    pub(super) fn around(name: &[u8], rows: usize) -> Self {
        let inner = name.strip_suffix(b"/").unwrap_or(name);
        let end = inner.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mut folder = Self::new(name.get(..end).unwrap_or_default().to_vec(), rows);
        if name.len() > end {
            folder.starts.push(name.to_vec());
            folder.reload();
        }
        folder
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn selected_row(&self) -> usize {
        self.selected
    }

    /// The lines to show.
    pub(super) fn lines(&self) -> &[Child] {
        if self.before.is_empty() { &self.children } else { &self.before }
    }

    pub(super) fn selected(&self) -> Option<&Name> {
        self.lines().get(self.selected).map(|child| &child.name)
    }

    /// The name of the selected line, if the line is a key.
    pub(super) fn selected_key(&self) -> Option<&[u8]> {
        self.selected().filter(|name| !name.is_folder).map(|name| name.bytes.as_slice())
    }

    /// The keys that the page lacks.
    pub(super) fn missing(&self) -> Option<KeyRange> {
        self.cursor.range().filter(|_| self.children.len() < self.rows)
    }

    /// Takes the first keys of the missing range, the number of keys in the range, and the answer's revision.
    pub(super) fn take(&mut self, keys: &[Vec<u8>], count: i64, revision: i64) {
        if self.revision == 0 {
            self.revision = revision;
        }
        let names = self.cursor.take(keys, count, self.rows.saturating_sub(self.children.len()));
        self.children.extend(names.into_iter().map(Child::new));
        if self.missing().is_some() {
            return;
        }
        self.before.clear();
        if let Some(wanted) = self.wanted.take() {
            self.selected = self.children.partition_point(|child| child.name.bytes < wanted);
        }
        self.selected = self.selected.min(self.children.len().saturating_sub(1));
        // The keys of this page have gone.
        if self.children.is_empty() && self.previous_page() {
            self.selected = self.rows - 1;
        }
    }

    /// The keys to watch, once the page is complete, and the revision at which it was read.
    pub(super) fn shown_range(&self) -> Option<(KeyRange, i64)> {
        self.missing().is_none().then(|| (self.range(), self.revision))
    }

    fn range(&self) -> KeyRange {
        let start = self.starts.last().map_or(&[][..], Vec::as_slice);
        let end_of_folder = || KeyRange::prefix(self.prefix.as_slice()).end();
        let end = if self.cursor.is_at_end() { end_of_folder() } else { Some(self.cursor.next().to_vec()) };
        match end {
            Some(end) => KeyRange::between(start, end),
            None => KeyRange::from_key(if start.is_empty() { &[0][..] } else { start }),
        }
    }

    /// A key of the folder has changed.
    pub(super) fn change(&mut self, key: &[u8], kind: EventKind, is_new: bool, now: Instant) {
        let Some(name) = Name::of(key, &self.prefix).filter(|_| self.range().contains(key)) else { return };
        let until = now + HIGHLIGHT;
        match self.children.binary_search_by(|child| child.name.bytes.cmp(&name.bytes)) {
            Ok(row) => {
                let Some(child) = self.children.get_mut(row) else { return };
                let mark = match kind {
                    EventKind::Delete if !child.name.is_folder => Mark::Deleted,
                    EventKind::Put if is_new && !child.name.is_folder => Mark::New,
                    _ => Mark::Changed,
                };
                child.is_doubtful |= kind == EventKind::Delete && child.name.is_folder;
                child.mark = Some((mark, until));
            }
            Err(row) if kind == EventKind::Put => {
                let child = Child { mark: Some((Mark::New, until)), ..Child::new(name) };
                self.children.insert(row, child);
                self.selected += usize::from(row <= self.selected && self.children.len() > 1);
                self.cut();
            }
            Err(_) => {}
        }
    }

    /// Removes the lines that do not fit on the page.
    fn cut(&mut self) {
        if let Some(first) = self.children.get(self.rows) {
            self.cursor.go_back_to(&first.name);
            self.children.truncate(self.rows);
        }
        self.selected = self.selected.min(self.rows - 1);
    }

    /// When the next highlight ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.lines().iter().filter_map(|child| child.mark).map(|(_, until)| until).min()
    }

    /// Ends old highlights. What was deleted goes.
    pub(super) fn end_highlights(&mut self, now: Instant) {
        let is_over = |child: &Child| child.mark.is_some_and(|(_, until)| until <= now);
        let is_gone = |child: &Child| is_over(child) && child.mark.is_some_and(|(mark, _)| mark == Mark::Deleted);
        let gone_above = self.lines().iter().take(self.selected).filter(|child| is_gone(child)).count();
        let lines = if self.before.is_empty() { &mut self.children } else { &mut self.before };
        lines.retain(|child| !is_gone(child));
        lines.iter_mut().filter(|child| is_over(child)).for_each(|child| child.mark = None);
        self.selected = (self.selected - gone_above).min(self.lines().len().saturating_sub(1));
    }

    /// A folder that may be empty.
    pub(super) fn doubtful(&self) -> Option<&[u8]> {
        self.children.iter().find(|child| child.is_doubtful).map(|child| child.name.bytes.as_slice())
    }

    /// The number of keys in a folder.
    pub(super) fn take_count(&mut self, folder: &[u8], count: Option<i64>, now: Instant) {
        if let Some(child) = self.children.iter_mut().find(|child| child.name.bytes == folder) {
            child.is_doubtful = false;
            if count == Some(0) {
                child.mark = Some((Mark::Deleted, now + HIGHLIGHT));
            }
        }
    }

    /// Reads the page again. The selected name stays selected, if it is still there.
    pub(super) fn reload(&mut self) {
        self.wanted = self.selected().map(|name| name.bytes.clone()).or(self.wanted.take());
        if self.before.is_empty() {
            self.before = std::mem::take(&mut self.children);
        }
        self.start_page();
    }

    fn start_page(&mut self) {
        self.children.clear();
        self.revision = 0;
        let start = self.starts.last().cloned().unwrap_or_default();
        self.cursor = Cursor::new(self.prefix.clone(), start);
    }

    pub(super) fn down(&mut self) {
        if self.selected + 1 < self.lines().len() {
            self.select(self.selected + 1);
        } else {
            self.next_page();
        }
    }

    fn select(&mut self, row: usize) {
        self.selected = row;
        // Also if the page is being read again.
        if self.wanted.is_some() {
            self.wanted = self.selected().map(|name| name.bytes.clone());
        }
    }

    pub(super) fn up(&mut self) {
        if self.selected > 0 {
            self.select(self.selected - 1);
        } else if self.previous_page() {
            self.selected = self.rows - 1;
        }
    }

    pub(super) fn next_page(&mut self) {
        if self.missing().is_none() && !self.cursor.is_at_end() {
            self.starts.push(self.cursor.next().to_vec());
            self.turn_page();
        } else {
            self.selected = self.lines().len().saturating_sub(1);
        }
    }

    /// Whether there is one.
    pub(super) fn previous_page(&mut self) -> bool {
        self.selected = 0;
        let is_there = self.starts.len() > 1;
        if is_there {
            self.starts.pop();
            self.turn_page();
        }
        is_there
    }

    fn turn_page(&mut self) {
        (self.selected, self.wanted) = (0, None);
        self.before.clear();
        self.start_page();
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.rows = rows.max(1);
        if self.selected >= self.rows {
            // The selected line becomes the first one.
            let selected = self.selected().map(|name| name.bytes.clone());
            self.starts.extend(selected);
            self.turn_page();
        }
        self.cut();
    }
}
