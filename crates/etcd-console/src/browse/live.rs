//! The watch of the keys that are on the screen. It holds one message of etcd at a time.

use std::future::pending;
use std::time::Duration;

use etcd_keys::watch::{Batch, Watch};
use etcd_keys::{Error, KeyRange, Keys};

/// How long the server may be away before the screen says so.
const OUTAGE: Duration = Duration::from_secs(2);

pub(super) struct Live {
    all: Keys,
    watch: Option<(KeyRange, Watch)>,
    /// The last revision that was seen.
    revision: i64,
    /// What etcd refused to watch.
    refused: Option<(KeyRange, i64)>,
}

impl Live {
    pub(super) fn new(all: Keys) -> Self {
        Self { all, watch: None, revision: 0, refused: None }
    }

    /// Watches a range that was read at a revision. A watch of more keys goes on.
    pub(super) fn follow(&mut self, shown: Option<(KeyRange, i64)>) {
        let Some((range, revision)) = shown else { return };
        let is_watched = self.watch.as_ref().is_some_and(|(watched, _)| is_within(&range, watched));
        if is_watched || self.refused.as_ref() == Some(&(range.clone(), revision)) {
            return;
        }
        self.revision = self.revision.max(revision);
        let watch = self.all.watch(range.clone()).from_revision(self.revision + 1).outage_timeout(OUTAGE);
        self.watch = Some((range, watch));
    }

    /// Ends the watch. What was seen does not count: the server may have other data now.
    pub(super) fn forget(&mut self) {
        (self.watch, self.revision) = (None, 0);
    }

    /// Ends a watch that etcd refuses, until the page is read again.
    pub(super) fn give_up(&mut self, shown: Option<(KeyRange, i64)>) {
        self.refused = shown;
        self.forget();
    }

    /// The next batch; waits for ever without a watch. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Batch, Error> {
        let Some((_, watch)) = &mut self.watch else { return pending().await };
        let batch = watch.recv_batch().await?;
        if let Batch::Events(events) = &batch {
            self.revision = events.iter().last().map_or(self.revision, |event| event.kv().mod_revision());
        }
        Ok(batch)
    }
}

fn is_within(range: &KeyRange, other: &KeyRange) -> bool {
    let ends_before = match (range.end(), other.end()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(other)) => end <= other,
    };
    range.start() >= other.start() && ends_before
}
