//! Deletes of any size that hardly delay other clients, in two steps: a [`Preview`] shows what would be deleted, and a
//! [`Deletion`] deletes it in chunks. Keys that were written after the preview are never deleted.
//!
//! One `DeleteRange` of 1M keys blocks every other client for seconds, and finding each chunk with a limited read takes
//! quadratic time. So one pass over the keys in large pages records boundaries. Then each chunk is an explicit range
//! `[from, to)`, deleted in one transaction if nothing in it has changed since the preview.
//!
//! Between two chunks the server may be reset, and the connection may move to the new server unnoticed. A transaction
//! cannot compare cluster ids. So it compares the revision of the chunk's first key with the preview's.

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
use crate::client::retry::{RETRY_TIMEOUT, Retry};

impl Keys {
    /// Deletes a range of any size, in chunks that hardly delay other clients. Keys that are written meanwhile stay.
    ///
    /// See [`delete`](crate::delete) for a preview, [`guard`](crate::guard) for protection from mistakes, and
    /// [`undo`](crate::undo) for undo files.
    ///
    /// # Errors
    /// As [`Deletion::run`]. Calling it again deletes the rest.
    pub async fn delete_in_chunks(&self, range: KeyRange) -> Result<Progress, Error> {
        self.preview_delete(range).await?.into_deletion().run(|_| ()).await
    }
}

/// The progress of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Keys deleted so far.
    pub deleted: u64,
    /// Keys of the preview that others have changed or deleted since. The deletion leaves them alone.
    pub kept: u64,
    /// All keys of the preview.
    pub total: u64,
}

/// A deletion of the keys of a preview.
///
/// Dropping the future of [`Deletion::run`] stops the deletion after the current chunk. Call `run` again to finish it, or
/// make a new preview and delete that.
#[derive(Debug)]
pub struct Deletion {
    connection: Connection,
    preview: Preview,
    /// Conditions of each transaction.
    only_while: Vec<etcd_client::Compare>,
    pace: Pace,
    /// Index into the preview's boundaries. Everything before it is done.
    next: usize,
    deleted: u64,
    keys_done: u64,
    revision: i64,
}

impl Preview {
    /// A deletion of exactly the keys of this preview. Sends no request yet.
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
            keys_done: 0,
            revision,
        }
    }

    /// Deletes only while all these conditions hold. Each transaction checks them.
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

    /// The progress so far. If the answer for a chunk was lost, its keys count as kept.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            deleted: self.deleted,
            kept: self.keys_done.saturating_sub(self.deleted),
            total: self.preview.count(),
        }
    }

    /// The revision of the last chunk that was deleted, or the preview's.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Deletes the remaining keys, and calls `on_progress` after every chunk. If the server goes away, retries for 5 s.
    ///
    /// # Errors
    /// The errors of every write; [`ErrorKind::AnotherCluster`] if the preview was of another cluster;
    /// [`ErrorKind::NotMet`] if a condition does not hold. [`Deletion::progress`] shows how far the deletion came. The
    /// other keys are unchanged.
    pub async fn run(&mut self, mut on_progress: impl FnMut(Progress)) -> Result<Progress, Error> {
        self.check_same_cluster().await?;
        while let Some((chunk, steps)) = self.chunk() {
            let began = Instant::now();
            let outcome = self.delete(&chunk).await?;
            self.pace.took(began.elapsed());
            self.deleted += outcome.deleted;
            self.revision = self.revision.max(outcome.revision);
            self.next += steps;
            self.keys_done = self.preview.keys_before(self.next);
            on_progress(self.progress());
        }
        Ok(self.progress())
    }

    /// The next chunk, and the number of steps between boundaries that it spans.
    fn chunk(&self) -> Option<(Chunk<'_>, usize)> {
        let part = self.preview.part(self.next, self.pace.steps())?;
        let (only_while, pieces) = (self.only_while.as_slice(), self.pace.pieces());
        let steps = part.steps;
        Some((Chunk { part, only_while, preview: &self.preview, pieces }, steps))
    }

    async fn delete(&self, chunk: &Chunk<'_>) -> Result<Outcome, Error> {
        let mut retry = Retry::new(RETRY_TIMEOUT);
        loop {
            let is_retry = retry.has_failed();
            let attempt = async {
                // After a failure, another cluster may answer.
                if is_retry {
                    self.check_same_cluster().await?;
                }
                chunk.delete(&self.connection).await
            };
            match retry.attempt(attempt).await? {
                Some(outcome) if outcome.cluster_id == self.preview.cluster_id() => return Ok(outcome),
                // No transaction was sent: all keys are newer than the preview.
                Some(outcome) if outcome.revision == 0 => return Ok(outcome),
                Some(outcome) => return Err(self.wrong_cluster(outcome.cluster_id)),
                None => {}
            }
        }
    }

    async fn check_same_cluster(&self) -> Result<(), Error> {
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
