//! Deletes of any size that other clients hardly notice, in two steps: a [`Preview`] says what would go, a
//! [`Deletion`] takes it away chunk by chunk. What was written after the preview is never deleted.
//!
//! One `DeleteRange` of 1M keys stalls every other client for seconds. Chunks found by limited ranges are
//! quadratic. So: one pass over the keys in large pages marks boundaries, then each chunk is an explicit
//! range `[from, to)`, deleted in one transaction if nothing in it has changed since the preview.
//!
//! Between two chunks the server may be reset, and the connection move to the new one without a word. No transaction
//! can compare a cluster's id, but the revision of a chunk's first key it can: it has to be the preview's.

mod chunk;
mod pace;
mod preview;

use std::time::Instant;

use self::chunk::{Chunk, Outcome};
use self::pace::Pace;
pub use self::preview::Preview;
pub(crate) use self::preview::cluster_id;
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::kv::Compare;
use crate::client::range::KeyRange;
use crate::client::retry::{PATIENCE, Retry};

impl Keys {
    /// Deletes a range of any size, in chunks that other clients hardly notice. What is written meanwhile stays.
    /// To look at it first, to be kept from mistakes, or to undo it: see [`delete`](crate::delete),
    /// [`guard`](crate::guard) and [`undo`](crate::undo).
    ///
    /// # Errors
    /// As [`Deletion::run`]. Calling it again deletes the rest.
    pub async fn delete_in_chunks(&self, range: KeyRange) -> Result<Progress, Error> {
        self.preview_delete(range).await?.into_deletion().run(|_| ()).await
    }
}

/// How far a deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Keys deleted so far.
    pub deleted: u64,
    /// Keys of the preview that were changed or deleted by others since, so far; they stay as they are.
    pub kept: u64,
    /// Keys of the preview.
    pub total: u64,
}

/// A deletion of what a preview showed, under way or not.
///
/// Dropping the future of [`Deletion::run`] stops it after the chunk that is under way; running it again, or
/// previewing and deleting anew, finishes it.
#[derive(Debug)]
pub struct Deletion {
    connection: Connection,
    preview: Preview,
    /// What must hold in each transaction.
    only_while: Vec<etcd_client::Compare>,
    pace: Pace,
    /// Index into the preview's boundaries: all before it is done.
    next: usize,
    deleted: u64,
    passed: u64,
    revision: i64,
}

impl Preview {
    /// A deletion of exactly what this showed; nothing happens yet.
    #[must_use]
    pub fn into_deletion(self) -> Deletion {
        Deletion::new(self)
    }
}

impl Deletion {
    fn new(preview: Preview) -> Self {
        let revision = preview.revision();
        Self {
            connection: preview.keys().connection().clone(),
            preview,
            only_while: Vec::new(),
            pace: Pace::default(),
            next: 0,
            deleted: 0,
            passed: 0,
            revision,
        }
    }

    /// Deletes only as long as all of this holds: each transaction compares it anew.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty key.
    pub fn only_while(mut self, holds: impl IntoIterator<Item = Compare>) -> Result<Self, Error> {
        let namespace = self.preview.keys().namespace();
        let compares = holds.into_iter().map(|compare| compare.into_etcd(namespace)).collect::<Result<Vec<_>, _>>();
        let refuse = |kind| self.connection.error(Operation::Delete(self.preview.range().clone()), kind);
        self.only_while = compares.map_err(refuse)?;
        Ok(self)
    }

    /// How far it is. Should a chunk's answer have been lost, its keys count as kept.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { deleted: self.deleted, kept: self.passed.saturating_sub(self.deleted), total: self.preview.count() }
    }

    /// The revision of the last chunk that was deleted, or the preview's.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Deletes what is left, and tells `heard` after every chunk. A server that goes away is waited for, 5 s.
    ///
    /// # Errors
    /// Whatever a write says, [`ErrorKind::AnotherCluster`] than the one that was previewed, and [`ErrorKind::NotMet`].
    /// [`Deletion::progress`] tells how far it came; the rest is untouched.
    pub async fn run(&mut self, mut heard: impl FnMut(Progress)) -> Result<Progress, Error> {
        self.prove_same_cluster().await?;
        while let Some((chunk, steps)) = self.chunk() {
            let began = Instant::now();
            let outcome = self.delete(&chunk).await?;
            self.pace.took(began.elapsed());
            self.deleted += outcome.deleted;
            self.revision = self.revision.max(outcome.revision);
            self.next += steps;
            self.passed = self.preview.keys_before(self.next);
            heard(self.progress());
        }
        Ok(self.progress())
    }

    /// The next chunk and how many steps between boundaries it takes.
    fn chunk(&self) -> Option<(Chunk<'_>, usize)> {
        let part = self.preview.part(self.next, self.pace.steps())?;
        let (only_while, pieces) = (self.only_while.as_slice(), self.pace.pieces());
        let steps = part.steps;
        Some((Chunk { part, only_while, preview: &self.preview, pieces }, steps))
    }

    async fn delete(&self, chunk: &Chunk<'_>) -> Result<Outcome, Error> {
        let mut retry = Retry::new(PATIENCE);
        loop {
            let doubtful = retry.has_failed();
            let attempt = async {
                // The answer may come from another server, one that knows nothing of the preview.
                if doubtful {
                    self.prove_same_cluster().await?;
                }
                chunk.delete(&self.connection).await
            };
            match retry.attempt(attempt).await? {
                Some(outcome) if outcome.cluster_id == self.preview.cluster_id() => return Ok(outcome),
                // There was nothing to delete: all of it is newer than the preview.
                Some(outcome) if outcome.revision == 0 => return Ok(outcome),
                Some(outcome) => return Err(self.wrong_cluster(outcome.cluster_id)),
                None => {}
            }
        }
    }

    async fn prove_same_cluster(&self) -> Result<(), Error> {
        let operation = Operation::Delete(self.preview.range().clone());
        let answer = cluster_id(&self.connection, self.preview.range()).await;
        let cluster_id = answer.map_err(|error| Error { operation, ..error })?;
        if cluster_id == self.preview.cluster_id() { Ok(()) } else { Err(self.wrong_cluster(cluster_id)) }
    }

    fn wrong_cluster(&self, cluster_id: u64) -> Error {
        let kind = ErrorKind::AnotherCluster { before: self.preview.cluster_id(), now: cluster_id };
        self.connection.error(Operation::Delete(self.preview.range().clone()), kind)
    }
}
