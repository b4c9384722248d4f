//! Fills a list in the background. The task ends when its list is closed.

use std::future::pending;

use anyhow::Result;
use etcd_keys::difference::ValueChange;
use etcd_keys::text::Escaped;
use etcd_keys::watch::{Event, EventKind};
use etcd_keys::{KeyRange, Keys, Redaction};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::listing::{Row, Source, Update};
use crate::diff;
use crate::side_by_side::SideBySide;

/// So many rows are sent together.
const BATCH: usize = 1_000;
/// About how many characters of a value are shown.
const WIDTH: usize = 120;

pub(super) struct Lister {
    all: Keys,
    redaction: Redaction,
    current: Option<Task>,
}

struct Task {
    updates: mpsc::Receiver<Update>,
    task: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lister {
    pub(super) fn new(all: Keys, redaction: Redaction) -> Self {
        Self { all, redaction, current: None }
    }

    pub(super) fn start(&mut self, source: Source) {
        let (sender, updates) = mpsc::channel(1);
        let out = Rows { sender, rows: Vec::new(), read: 0 };
        let (all, redaction) = (self.all.clone(), self.redaction.clone());
        let task = tokio::spawn(async move { list(&all, source, redaction, out).await }).abort_handle();
        self.current = Some(Task { updates, task });
    }

    pub(super) fn stop(&mut self) {
        self.current = None;
    }

    /// What was found next; waits for ever if nothing is read. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Update {
        let Some(current) = &mut self.current else { return pending().await };
        match current.updates.recv().await {
            Some(update) => update,
            None => {
                self.current = None;
                pending().await
            }
        }
    }
}

/// Where the rows go.
struct Rows {
    sender: mpsc::Sender<Update>,
    rows: Vec<Row>,
    /// How many keys or changes were read.
    read: u64,
}

impl Rows {
    async fn add(&mut self, row: Row) {
        self.rows.push(row);
        self.read += 1;
        if self.rows.len() >= BATCH {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        // Without a receiver this task is about to end.
        let _ = self.sender.send(Update::Rows(std::mem::take(&mut self.rows), self.read)).await;
    }
}

async fn list(all: &Keys, source: Source, redaction: Redaction, mut out: Rows) {
    let ended = match source {
        Source::History(range) => history(all, range, redaction, &mut out).await,
        Source::Difference(range, before, after) => differences(all, &range, before, after, &redaction, &mut out).await,
        Source::Search(folder, text) => search(all, folder, &text, &mut out).await,
    };
    out.flush().await;
    let end = ended.map_or_else(|error| Update::Failed(error.to_string()), Update::End);
    let _ = out.sender.send(end).await;
}

async fn history(all: &Keys, range: KeyRange, redaction: Redaction, out: &mut Rows) -> Result<Option<String>> {
    let is_single = range.is_single();
    let mut history = all.history(range).redact(redaction);
    while let Some(event) = history.try_next().await? {
        out.add(of_history(event, is_single)).await;
    }
    let first = history.first_revision();
    Ok((first > 1).then(|| format!("older ones than revision {first} are compacted away")))
}

fn of_history(event: Event, is_single: bool) -> Row {
    let revision = event.kv.mod_revision;
    let name = if is_single { String::new() } else { format!("{}  ", Escaped(&event.kv.key)) };
    let before = event.prev_kv.as_ref().map(|kv| kv.value.as_slice());
    let (word, after) = match event.kind {
        EventKind::Put => ("PUT", Some(event.kv.value.as_slice())),
        EventKind::Delete => ("DEL", None),
    };
    let change = ValueChange { before, after, width: WIDTH };
    Row { text: format!("rev {revision:<8} {word} {name}{change}"), revision, key: event.kv.key }
}

async fn differences(
    all: &Keys,
    range: &KeyRange,
    before: i64,
    after: i64,
    redaction: &Redaction,
    out: &mut Rows,
) -> Result<Option<String>> {
    let mut differences = SideBySide::of_revisions(all, range, before, after).await?;
    while let Some((before, after)) = differences.next_difference().await? {
        let text = diff::line(redaction, before.as_ref(), after.as_ref());
        let key = before.or(after).map(|kv| kv.key).unwrap_or_default();
        out.add(Row { text, revision: 0, key }).await;
    }
    Ok(None)
}

async fn search(all: &Keys, folder: Vec<u8>, text: &[u8], out: &mut Rows) -> Result<Option<String>> {
    let below = folder.len();
    let mut pages = all.pages(KeyRange::prefix(folder)).keys_only();
    while let Some(page) = pages.next_page().await? {
        for entry in page.entries() {
            let name = entry.key().get(below..).unwrap_or_default();
            let is_found = name.windows(text.len().max(1)).any(|part| part == text);
            if is_found {
                let key = entry.key().to_vec();
                out.rows.push(Row { text: Escaped(&key).to_string(), revision: 0, key });
            }
        }
        out.read += page.entries().len() as u64;
        out.flush().await;
    }
    Ok(None)
}
