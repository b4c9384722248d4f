//! Which keys outside of every run changed while a run was there, from etcd's history. Looks only; what such changes mean, the
//! runner says.

use etcd_keys::KeyRange;
use etcd_keys::kv::Get;
use etcd_keys::watch::History;

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

/// Looks for what changes outside of every run while a run is there. Each look goes on where the last one ended, with watches
/// that stay open, so that frequent looks leave little for the last one.
#[derive(Debug)]
pub struct EscapeSearch {
    registry: Registry,
    prefix: String,
    found: Escapes,
    /// `None` before the first look, and after an error.
    histories: Option<[History; 2]>,
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
        Self { registry, prefix, found, histories: None }
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
        let mut histories = self.histories.take().unwrap_or_else(|| self.begin(from));
        histories.iter_mut().for_each(|history| history.go_on_until(now));
        let [before, after] = &mut histories;
        let roots = self.registry.roots();
        let found = tokio::try_join!(changes(before, roots), changes(after, roots))?;
        for found in <[Escapes; 2]>::from(found) {
            self.found.changes += found.changes;
            found.keys.into_iter().for_each(|key| self.found.name(key));
            // Later than `from` if a compaction came first.
            if found.revisions.0 > from {
                self.found.revisions.0 = self.found.revisions.0.max(found.revisions.0);
            }
        }
        self.found.revisions.1 = now;
        self.histories = Some(histories);
        Ok(&self.found)
    }

    /// The changes before and after the run's own ones, which may be many, and are not sent.
    fn begin(&self, from: i64) -> [History; 2] {
        let after = KeyRange::prefix(self.prefix.as_str()).end().map_or(KeyRange::between("", ""), KeyRange::from_key);
        let ranges = [KeyRange::between("\0", self.prefix.as_str()), after];
        ranges.map(|range| self.registry.connection().all_keys().history(range).from_revision(from))
    }
}

async fn changes(history: &mut History, roots: &Roots) -> Result<Escapes, Error> {
    let mut found = Escapes::default();
    while let Some(event) = history.try_next().await? {
        found.add(event.kv.key, roots);
    }
    found.revisions.0 = history.first_revision();
    Ok(found)
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
