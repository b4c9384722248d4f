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
        let prefix = self.prefix();
        let last = KeyRange::prefix(prefix.as_str()).end().map(KeyRange::from_key);
        // The run's own changes, which may be many, are not sent. At the same time: etcd then reads its history once.
        let (first, last) = tokio::try_join!(self.changes(Some(KeyRange::between("\0", prefix))), self.changes(last))?;
        let keys = first.keys.into_iter().chain(last.keys).take(NAMED).collect();
        let revisions = (first.revisions.0.max(last.revisions.0), first.revisions.1.max(last.revisions.1));
        Ok(Escapes { changes: first.changes + last.changes, keys, revisions })
    }

    async fn changes(&self, range: Option<KeyRange>) -> Result<Escapes, Error> {
        let mut found = Escapes::default();
        let Some(range) = range else { return Ok(found) };
        let mut history = self.registry().connection().all_keys().history(range).from_revision(self.revision() + 1);
        while let Some(event) = history.try_next().await? {
            found.add(event.kv.key, self.registry().roots());
        }
        found.revisions = (history.first_revision(), history.last_revision());
        Ok(found)
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
