//! Which keys outside of every run changed while a run was there, from etcd's history. Looks only; what such changes mean, the
//! runner says.

use etcd_keys::KeyRange;
use etcd_keys::kv::Get;

use crate::error::Error;
use crate::roots::Roots;
use crate::runs::registry::Registry;
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

/// Looks for what changes outside of every run while a run is there. Each look goes on where the last one ended: etcd reads
/// its whole history from there on, so that frequent looks leave little for the last one.
#[derive(Debug)]
pub struct EscapeSearch {
    registry: Registry,
    prefix: String,
    found: Escapes,
}

impl Run {
    /// Begins to look for changes outside of every run since this run was registered, by its processes or by others.
    #[must_use]
    pub fn search_escapes(&self) -> EscapeSearch {
        EscapeSearch::after(self.revision(), self.prefix(), self.registry().clone())
    }
}

impl EscapeSearch {
    /// Begins after a revision. The prefix is that of a run, whose changes are not sent.
    pub(crate) fn after(revision: i64, prefix: String, registry: Registry) -> Self {
        let found = Escapes { revisions: (revision + 1, revision), ..Escapes::default() };
        Self { registry, prefix, found }
    }

    /// Reads what has changed since the last look. Returns all that was found so far.
    ///
    /// # Errors
    /// Those of etcd. The next look then begins where this one did.
    pub async fn look(&mut self) -> Result<&Escapes, Error> {
        let from = self.found.revisions.1 + 1;
        let keys = self.registry.connection().all_keys();
        let now = keys.send(Get::range(KeyRange::key("~")).count_only()).await?.revision;
        if now < from {
            return Ok(&self.found);
        }
        let last = KeyRange::prefix(self.prefix.as_str()).end().map(KeyRange::from_key);
        // The run's own changes, which may be many, are not sent. At the same time: etcd then reads its history once.
        let first = self.changes(Some(KeyRange::between("\0", self.prefix.as_str())), from, now);
        for found in <[Escapes; 2]>::from(tokio::try_join!(first, self.changes(last, from, now))?) {
            self.found.changes += found.changes;
            found.keys.into_iter().for_each(|key| self.found.name(key));
            // Later than `from` if a compaction came first.
            if found.revisions.0 > from {
                self.found.revisions.0 = self.found.revisions.0.max(found.revisions.0);
            }
        }
        self.found.revisions.1 = now;
        Ok(&self.found)
    }

    async fn changes(&self, range: Option<KeyRange>, from: i64, to: i64) -> Result<Escapes, Error> {
        let mut found = Escapes::default();
        let Some(range) = range else { return Ok(found) };
        let history = self.registry.connection().all_keys().history(range);
        let mut history = history.from_revision(from).until_revision(to);
        while let Some(event) = history.try_next().await? {
            found.add(event.kv.key, self.registry.roots());
        }
        found.revisions.0 = history.first_revision();
        Ok(found)
    }
}

impl Escapes {
    fn add(&mut self, key: Vec<u8>, roots: &Roots) {
        if !roots.is_of_a_run(&key) {
            self.count(key);
        }
    }

    /// Counts a change, and names its key.
    pub(crate) fn count(&mut self, key: Vec<u8>) {
        self.changes += 1;
        self.name(key);
    }

    fn name(&mut self, key: Vec<u8>) {
        if self.keys.len() < NAMED && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }
}
