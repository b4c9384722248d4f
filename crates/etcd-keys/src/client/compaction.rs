//! Adds the revisions to errors about compaction, which etcd reports without them.

use etcd_client::WatchOptions;

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// The oldest revision that can be read, if `compacted` cannot be. A failed `Range` does not return it, but etcd cancels a
/// watch from that revision with it, on any key.
pub(crate) async fn oldest_revision(connection: &Connection, compacted: i64) -> Option<i64> {
    let operation = || Operation::Watch(KeyRange::key("\0"));
    let answer = connection.call(operation, async {
        let options = WatchOptions::new().with_start_revision(compacted.max(1));
        let mut stream = connection.watches().watch("\0", Some(options)).await?;
        while let Some(response) = stream.message().await? {
            if response.canceled() {
                return Ok(Some(response.compact_revision()).filter(|revision| *revision > 0));
            }
        }
        Ok(None)
    });
    answer.await.ok().flatten()
}

/// Adds the revisions to an error.
pub(crate) async fn with_revisions(connection: &Connection, requested: i64, mut error: Error) -> Error {
    match &mut error.kind {
        ErrorKind::Compacted { asked: unknown, oldest } => {
            *unknown = requested;
            *oldest = oldest_revision(connection, requested).await;
        }
        ErrorKind::FutureRevision(unknown) => *unknown = requested,
        _ => {}
    }
    error
}
