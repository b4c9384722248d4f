//! The real history: the writes that etcd acknowledged, with their cluster and revision.

use std::collections::BTreeMap;

use anyhow::Result;
use etcd_keys::Connection;

use crate::torture::rng::Rng;

/// The watched prefix.
pub(super) const PREFIX: &str = "/Inventory/v1/watched/";
/// How many keys there are: few, so that they change often.
const KEYS: u64 = 40;

/// One acknowledged change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) revision: i64,
    /// The key's number.
    pub(super) key: u64,
}

/// All acknowledged changes of a cluster, each with the value that it gave; `None`: it deleted the key.
#[derive(Default)]
pub(super) struct History {
    pub(super) clusters: BTreeMap<String, BTreeMap<Change, Option<String>>>,
    /// The revisions at which each cluster was compacted.
    pub(super) compacted: BTreeMap<String, Vec<i64>>,
    written: u64,
}

pub(super) fn key(number: u64) -> String {
    format!("{PREFIX}{number}")
}

impl History {
    /// Writes and deletes, one after the other, until the first error. The failed write may have been done or not: the watch
    /// may report it, and need not.
    pub(super) async fn write(
        &mut self,
        cluster: &str,
        connection: &Connection,
        count: u64,
        rng: &mut Rng,
    ) -> Result<()> {
        let changes = self.clusters.entry(cluster.to_owned()).or_default();
        for _ in 0..count {
            self.written += 1;
            let number = rng.number(0..KEYS);
            // Some values are larger than the number of bytes after which connections are cut.
            let longest = if rng.one_in(20) { 30_000 } else { 50 };
            let length = rng.index(0..longest);
            let value = format!("{}{}", self.written, "x".repeat(length));
            if rng.one_in(4) {
                let Ok(deleted) = connection.all_keys().delete(key(number)).await else { return Ok(()) };
                if deleted.deleted > 0 {
                    changes.insert(Change { revision: deleted.revision, key: number }, None);
                }
            } else {
                let Ok(put) = connection.all_keys().put(key(number), value.as_str()).await else { return Ok(()) };
                changes.insert(Change { revision: put.revision, key: number }, Some(value));
            }
        }
        Ok(())
    }
}
