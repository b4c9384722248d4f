//! The runs in etcd: records, heartbeats, keys, and keys that belong to no run. Only reads. `liveness` decides whether a
//! run is dead, and `sweep` deletes.

use std::collections::{BTreeMap, BTreeSet};

use etcd_keys::kv::{Get, GetResponse, OpResponse, Txn};
use etcd_keys::range::successor;
use etcd_keys::watch::EventKind;
use etcd_keys::{Connection, Error, KeyRange};

use crate::roots::Roots;
use crate::run_id::RunId;
use crate::runs::record::Found;

/// How many operations one transaction has: etcd takes 128.
const BATCH: usize = 120;
/// Reads about one run: record, heartbeat, count, line in the index.
const READS: usize = 4;
/// The value of a run's line in the index, for a run that has a user and a role of its own.
pub(crate) const FENCED: &str = "fenced";
/// How many keys that belong to no run are read first. Often these are all.
const FIRST_PAGE: i64 = 1_000;
/// How many are read at a time after that.
const PAGE: i64 = 20_000;

/// The runs below a test root of a cluster.
#[derive(Clone, Debug)]
pub struct Registry {
    connection: Connection,
    roots: Roots,
}

/// A run, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its id.
    pub id: RunId,
    /// What its record says.
    pub found: Found,
    /// The revision that wrote the record last.
    pub revision: i64,
    /// Whether `.alive` is there.
    pub alive: bool,
    /// Whether it has a user and a role of its own.
    pub fenced: bool,
    /// The number of its tests' keys.
    pub keys: u64,
}

/// Keys below the test root that belong to no registered run: another harness's, say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unregistered {
    /// The whole prefix, or one key directly below the test root.
    pub range: KeyRange,
    /// The number of keys.
    pub keys: u64,
}

impl Unregistered {
    /// The run that the keys would belong to, if a run of that id were registered.
    pub(crate) fn run(&self, roots: &Roots) -> Option<RunId> {
        let name = std::str::from_utf8(self.range.start()).ok()?;
        if self.range.is_single() { name.strip_prefix(&roots.index())?.parse().ok() } else { roots.run_of(name) }
    }
}

/// What is below the test root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// The runs, the oldest first.
    pub runs: Vec<Entry>,
    /// Keys that belong to no run.
    pub unregistered: Vec<Unregistered>,
}

impl Listing {
    /// A listing of one run.
    #[must_use]
    pub fn of_run(run: Entry) -> Self {
        Self { runs: vec![run], unregistered: Vec::new() }
    }
}

impl Registry {
    /// The runs of a cluster, below a test root.
    #[must_use]
    pub fn new(connection: &Connection, roots: Roots) -> Self {
        Self { connection: connection.clone(), roots }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where test data may be.
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn record_key(&self, id: &RunId) -> String {
        format!("{}.run", self.roots.run(id))
    }

    pub(crate) fn alive_key(&self, id: &RunId) -> String {
        format!("{}.alive", self.roots.run(id))
    }

    pub(crate) fn index_key(&self, id: &RunId) -> String {
        format!("{}{id}", self.roots.index())
    }

    /// One run; `None`: there is no run of this id.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn entry(&self, id: &RunId) -> Result<Option<Entry>, Error> {
        let mut entries = self.entries(std::slice::from_ref(id)).await?;
        Ok(entries.pop())
    }

    /// All that is below the test root. Takes a few round trips for forty runs, however many keys they have.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn list(&self) -> Result<Listing, Error> {
        let index = self.roots.index();
        let answer = self.connection.all_keys().send(Get::prefix(index.as_str()).keys_only()).await?;
        let ids: Vec<RunId> = answer.kvs.iter().filter_map(|kv| id_in(&kv.key, &index)).collect();
        let mut runs = self.entries(&ids).await?;
        let mut unregistered = Vec::new();
        for found in self.beside(&index, &ids).await? {
            // A run that is missing in the index is a run all the same.
            let run = match found.run(&self.roots) {
                Some(id) => self.entry(&id).await?,
                None => None,
            };
            match run {
                Some(run) => runs.push(run),
                None => unregistered.push(found),
            }
        }
        let registered: BTreeSet<RunId> = runs.iter().map(|run| run.id.clone()).collect();
        for line in
            answer.kvs.into_iter().filter(|kv| id_in(&kv.key, &index).is_none_or(|id| !registered.contains(&id)))
        {
            if let Some(id) = id_in(&line.key, &index) {
                let range = KeyRange::prefix(self.roots.run(&id));
                let keys = self.count(range.clone()).await?;
                unregistered.extend((keys > 0).then_some(Unregistered { range, keys }));
            }
            unregistered.push(Unregistered { range: KeyRange::key(line.key), keys: 1 });
        }
        runs.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Listing { runs, unregistered })
    }

    async fn count(&self, range: KeyRange) -> Result<u64, Error> {
        Ok(u64::try_from(self.connection.all_keys().count(range).await?).unwrap_or(0))
    }

    /// The runs of these ids that have a record.
    async fn entries(&self, ids: &[RunId]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for ids in ids.chunks(BATCH / READS) {
            let ask = |txn: Txn, id: &RunId| {
                txn.then(Get::key(self.record_key(id)))
                    .then(Get::key(self.alive_key(id)).keys_only())
                    .then(Get::prefix(self.roots.run(id)).count_only())
                    .then(Get::key(self.index_key(id)))
            };
            let answer = self.connection.all_keys().send(ids.iter().fold(Txn::new(), ask)).await?;
            let answers: Vec<&GetResponse> = answer.responses.iter().filter_map(as_read).collect();
            entries.extend(ids.iter().zip(answers.chunks(READS)).filter_map(|(id, answers)| entry_of(id, answers)));
        }
        Ok(entries)
    }

    /// What is below the test root beside the index and these runs, segment by segment. Only the gaps between them are
    /// read: the cost depends on what is found, not on the keys of the runs.
    async fn beside(&self, index: &str, ids: &[RunId]) -> Result<Vec<Unregistered>, Error> {
        let mut found = BTreeMap::new();
        for gaps in self.gaps(index, ids).chunks(BATCH) {
            let ask = |txn: Txn, gap: &KeyRange| txn.then(Get::range(gap.clone()).limit(1).keys_only());
            let answer = self.connection.all_keys().send(gaps.iter().fold(Txn::new(), ask)).await?;
            let answers = answer.responses.iter().filter_map(as_read);
            for (gap, _) in gaps.iter().zip(answers).filter(|(_, read)| !read.kvs.is_empty()) {
                self.walk(gap, &mut found).await?;
            }
        }
        Ok(found.into_values().collect())
    }

    /// The ranges between known prefixes.
    fn gaps(&self, index: &str, ids: &[RunId]) -> Vec<KeyRange> {
        let mut known: Vec<String> = ids.iter().map(|id| self.roots.run(id)).collect();
        known.push(index.to_owned());
        known.sort();
        let mut from = self.roots.test_root().as_bytes().to_vec();
        let mut gaps = Vec::new();
        for prefix in known {
            gaps.push(KeyRange::between(from, prefix.as_str()));
            from = KeyRange::prefix(prefix).end().unwrap_or_default();
        }
        gaps.push(KeyRange::between(from, self.roots.range().end().unwrap_or_default()));
        gaps
    }

    /// The revisions at which runs began whose id begins with this, as far as etcd has them: of runs that are registered, and of
    /// others in its history, until a compaction.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn beginnings(&self, id: &str) -> Result<BTreeMap<RunId, i64>, Error> {
        let (keys, index) = (self.connection.all_keys(), self.roots.index());
        let range = KeyRange::prefix(format!("{index}{id}"));
        let now = keys.send(Get::range(range.clone()).keys_only()).await?;
        let began = |key: &[u8], revision| Some((id_in(key, &index)?, revision));
        let mut found: BTreeMap<RunId, i64> =
            now.kvs.iter().filter_map(|kv| began(&kv.key, kv.create_revision)).collect();
        let mut history = keys.history(range);
        while let Some(event) = history.try_next().await? {
            if event.kind == EventKind::Put
                && let Some((run, revision)) = began(&event.kv.key, event.kv.create_revision)
            {
                found.entry(run).or_insert(revision);
            }
        }
        Ok(found)
    }

    /// Counts the keys of a range by segments. For each read etcd walks over the rest of the range, so reads are few: large
    /// pages for small segments, and the rest of a large segment is counted, not read.
    async fn walk(&self, gap: &KeyRange, found: &mut Segments) -> Result<(), Error> {
        let (keys, root) = (self.connection.all_keys(), self.roots.test_root().len());
        let (mut from, to) = (gap.start().to_vec(), gap.end().unwrap_or_default());
        for page in std::iter::once(FIRST_PAGE).chain(std::iter::repeat(PAGE)) {
            let left = KeyRange::between(from, to.as_slice());
            let answer = keys.send(Get::range(left).limit(page).keys_only()).await?;
            for kv in &answer.kvs {
                add(found, segment_of(&kv.key, root), 1);
            }
            let Some(last) = answer.kvs.last().filter(|_| answer.more) else { break };
            let segment = segment_of(&last.key, root);
            from = segment.end().unwrap_or_default();
            if !segment.is_single() {
                let rest = KeyRange::between(successor(&last.key), from.as_slice());
                add(found, segment, self.count(rest).await?);
            }
        }
        Ok(())
    }
}

/// Segments by their first key.
type Segments = BTreeMap<Vec<u8>, Unregistered>;

fn add(found: &mut Segments, range: KeyRange, keys: u64) {
    found.entry(range.start().to_vec()).or_insert(Unregistered { range, keys: 0 }).keys += keys;
}

fn as_read(answer: &OpResponse) -> Option<&GetResponse> {
    match answer {
        OpResponse::Get(read) => Some(read),
        _ => None,
    }
}

fn id_in(key: &[u8], index: &str) -> Option<RunId> {
    std::str::from_utf8(key.strip_prefix(index.as_bytes())?).ok()?.parse().ok()
}

/// The segment after a prefix of `prefix` bytes: all keys below that segment, or one key without a slash.
fn segment_of(key: &[u8], prefix: usize) -> KeyRange {
    let rest = key.get(prefix..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => KeyRange::prefix(key.get(..=prefix + slash).unwrap_or_default()),
        None => KeyRange::key(key),
    }
}

fn entry_of(id: &RunId, answers: &[&GetResponse]) -> Option<Entry> {
    let [record, alive, count, line] = answers else { return None };
    let record = record.kvs.first()?;
    let alive = !alive.kvs.is_empty();
    let keys = u64::try_from(count.count).unwrap_or(0).saturating_sub(1 + u64::from(alive));
    let fenced = line.kvs.first().is_some_and(|line| line.value == FENCED.as_bytes());
    let (found, revision) = (Found::read(&record.value), record.mod_revision);
    Some(Entry { id: id.clone(), found, revision, alive, fenced, keys })
}
