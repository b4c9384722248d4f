//! Which keys outside of every run changed while a run was there, from etcd's history. Looks only; what such changes mean, the
//! runner says.

use etcd_keys::KeyRange;

use crate::error::Error;
use crate::roots::Roots;
use crate::runs::run::Run;

/// How many keys are named.
const NAMED: usize = 5;

/// What changed outside of every run, after a run was registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Escapes {
    /// The number of changes.
    pub changes: u64,
    /// The first changed keys, at most five, each once.
    pub keys: Vec<Vec<u8>>,
    /// The first and the last revision that were looked at: later than the start of the run where a compaction removed the
    /// changes before.
    pub revisions: (i64, i64),
}

impl Run {
    /// Reads what has changed outside of every run since this run was registered, by its processes or by others.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn escapes(&self) -> Result<Escapes, Error> {
        let (keys, prefix) = (self.registry().connection().all_keys(), self.prefix());
        let end = KeyRange::prefix(prefix.as_str()).end();
        // The run's own changes, which may be many, are not sent.
        let around = [Some(KeyRange::between("\0", prefix)), end.map(KeyRange::from_key)];
        let mut escapes = Escapes { revisions: (self.revision() + 1, i64::MAX), ..Escapes::default() };
        for range in around.into_iter().flatten() {
            let (first, last) = escapes.revisions;
            let mut history = keys.history(range).from_revision(first).until_revision(last);
            while let Some(event) = history.try_next().await? {
                escapes.add(event.kv.key, self.registry().roots());
            }
            escapes.revisions = (history.first_revision(), history.last_revision());
        }
        Ok(escapes)
    }
}

impl Escapes {
    fn add(&mut self, key: Vec<u8>, roots: &Roots) {
        if roots.is_of_a_run(&key) {
            return;
        }
        self.changes += 1;
        if self.keys.len() < NAMED && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }
}
