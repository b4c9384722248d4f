//! What a deletion would take, and where to cut it: one pass over the keys, of which only boundaries are kept.

use etcd_client::GetOptions;

use super::pace::STEP;
use crate::bulk::pages::{Page, Pages};
use crate::client::connect::Connection;
use crate::client::error::{Error, Operation};
use crate::client::keys::Keys;
use crate::client::range::{KeyRange, successor};

/// How many of the first and of the last keys a preview shows.
const SHOWN: usize = 5;

/// A range's keys as they were at one revision. For people to look at, so keys and range are named in full.
#[derive(Clone, Debug)]
pub struct Preview {
    keys: Keys,
    range: KeyRange,
    cluster_id: u64,
    revision: i64,
    count: u64,
    first: Vec<Vec<u8>>,
    last: Vec<Vec<u8>>,
    /// Every [`STEP`]th key from the first on, then the key right after the last one.
    boundaries: Vec<Boundary>,
}

#[derive(Clone, Debug)]
struct Boundary {
    key: Vec<u8>,
    /// The key's; of what comes after the last one, 0.
    mod_revision: i64,
}

/// What one chunk is to take.
pub(super) struct Part {
    pub(super) range: KeyRange,
    /// The mod revision that its first key has.
    pub(super) mod_revision: i64,
    /// How many steps it takes.
    pub(super) steps: usize,
}

impl Keys {
    /// Looks at a range before it is deleted: one pass over its keys in pages, at one revision. A million keys take a
    /// few seconds and 1/250 of their size in memory.
    ///
    /// # Errors
    /// As [`Pages::next_page`].
    pub async fn preview_delete(&self, range: KeyRange) -> Result<Preview, Error> {
        let (connection, range) = (self.connection(), self.namespace().to_full(&range));
        let mut pages = Pages::new(connection, range.clone()).keys_only();
        let mut preview = Preview {
            keys: self.clone(),
            range,
            cluster_id: 0,
            revision: 0,
            count: 0,
            first: Vec::new(),
            last: Vec::new(),
            boundaries: Vec::new(),
        };
        while let Some(page) = pages.next_page().await? {
            preview.add(&page);
        }
        match pages.seen() {
            Some((revision, cluster_id)) => (preview.revision, preview.cluster_id) = (revision, cluster_id),
            // An empty range is not asked for; its cluster still is to be named.
            None => preview.cluster_id = cluster_id(connection, &preview.range).await?,
        }
        let after = preview.last.last().map(|last| Boundary { key: successor(last), mod_revision: 0 });
        preview.boundaries.extend(after);
        Ok(preview)
    }
}

impl Preview {
    fn add(&mut self, page: &Page) {
        let keys = || page.entries().map(|entry| entry.key());
        self.first.extend(keys().take(SHOWN.saturating_sub(self.first.len())).map(<[u8]>::to_vec));
        for entry in page.entries() {
            if self.count.is_multiple_of(STEP) {
                self.boundaries.push(Boundary { key: entry.key().to_vec(), mod_revision: entry.mod_revision() });
            }
            self.count += 1;
        }
        self.last.extend(keys().skip(page.entries().len().saturating_sub(SHOWN)).map(<[u8]>::to_vec));
        self.last.drain(..self.last.len().saturating_sub(SHOWN));
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The connection by which it was looked at.
    pub(crate) fn connection(&self) -> &Connection {
        self.keys.connection()
    }

    /// The range that was looked at.
    #[must_use]
    pub fn range(&self) -> &KeyRange {
        &self.range
    }

    /// The endpoints, separated by commas.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.keys.connection().endpoint()
    }

    /// The cluster.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The revision; what is written later is not in the preview and not deleted.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many keys there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first keys, at most five.
    #[must_use]
    pub fn first(&self) -> &[Vec<u8>] {
        &self.first
    }

    /// The last keys, at most five, in order; with few keys the same as the first ones.
    #[must_use]
    pub fn last(&self) -> &[Vec<u8>] {
        &self.last
    }

    /// From a boundary over so many steps, at most; `None` after the last.
    pub(super) fn part(&self, from: usize, steps: usize) -> Option<Part> {
        let last = self.boundaries.len().checked_sub(1).filter(|last| from < *last)?;
        let to = from.saturating_add(steps).min(last);
        let (first, after) = (self.boundaries.get(from)?, self.boundaries.get(to)?);
        let range = KeyRange::between(first.key.clone(), after.key.clone());
        Some(Part { range, mod_revision: first.mod_revision, steps: to - from })
    }

    /// How many keys there were before a boundary.
    pub(super) fn keys_before(&self, boundary: usize) -> u64 {
        (STEP * boundary as u64).min(self.count)
    }
}

/// The cluster that answers, by a read of one key's count.
pub(crate) async fn cluster_id(connection: &Connection, range: &KeyRange) -> Result<u64, Error> {
    let key = if range.start().is_empty() { vec![0] } else { range.start().to_vec() };
    let options = GetOptions::new().with_count_only();
    let operation = || Operation::Read(range.clone());
    let answer = connection.read(operation, key, options).await?;
    Ok(answer.header().map_or(0, etcd_client::ResponseHeader::cluster_id))
}
