//! Which runs there are, as etcd knows them: records, signs of life, keys, and what belongs to no run. Reads;
//! whether a run is dead is judged elsewhere, and nothing is deleted here.

use std::collections::BTreeMap;

use etcd_keys::kv::{Get, GetResponse, OpResponse, Txn};
use etcd_keys::{Connection, Error, KeyRange};

use crate::record::Found;
use crate::roots::Roots;
use crate::run_id::RunId;

/// Operations that one transaction may have: etcd takes 128.
const BATCH: usize = 120;
/// Reads about one run: record, sign of life, count.
const READS: usize = 3;

/// The runs below a test root of a cluster.
#[derive(Clone, Debug)]
pub struct Registry {
    connection: Connection,
    roots: Roots,
}

/// A run, as it was found.
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
    /// How many keys its tests have.
    pub keys: u64,
}

/// Keys below the test root that belong to no registered run: another harness's, say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unregistered {
    /// The prefix, in full; or one key that is directly below the test root.
    pub range: KeyRange,
    /// How many keys.
    pub keys: u64,
}

/// What is below the test root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// The runs, the oldest first.
    pub runs: Vec<Entry>,
    /// What belongs to none.
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

    /// One run; `None`: there is none of this id.
    ///
    /// # Errors
    /// Whatever a read may end in.
    pub async fn entry(&self, id: &RunId) -> Result<Option<Entry>, Error> {
        let mut entries = self.entries(std::slice::from_ref(id)).await?;
        Ok(entries.pop())
    }

    /// All that is below the test root. Costs a few round trips for forty runs, however many keys they have.
    ///
    /// # Errors
    /// Whatever a read may end in.
    pub async fn list(&self) -> Result<Listing, Error> {
        let index = self.roots.index();
        let answer = self.connection.all_keys().send(Get::prefix(index.as_str()).keys_only()).await?;
        let ids: Vec<RunId> = answer.kvs.iter().filter_map(|kv| id_in(&kv.key, &index)).collect();
        let mut runs = self.entries(&ids).await?;
        let mut unregistered = Vec::new();
        for (segment, range) in self.between(&index, &ids).await? {
            // A run that lost its line in the index is a run all the same.
            let run = match segment.and_then(|id| id.parse().ok()) {
                Some(id) => self.entry(&id).await?,
                None => None,
            };
            match run {
                Some(run) => runs.push(run),
                None => unregistered.push(self.counted(range).await?),
            }
        }
        for id in ids.iter().filter(|id| runs.iter().all(|run| run.id != **id)) {
            let left = self.counted(KeyRange::prefix(self.roots.run(id))).await?;
            unregistered.extend((left.keys > 0).then_some(left));
        }
        runs.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Listing { runs, unregistered })
    }

    async fn counted(&self, range: KeyRange) -> Result<Unregistered, Error> {
        let keys = self.connection.all_keys().count(range.clone()).await?;
        Ok(Unregistered { range, keys: u64::try_from(keys).unwrap_or(0) })
    }

    /// The runs of these ids that have a record.
    async fn entries(&self, ids: &[RunId]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for ids in ids.chunks(BATCH / READS) {
            let ask = |txn: Txn, id: &RunId| {
                txn.then(Get::new(self.record_key(id)))
                    .then(Get::new(self.alive_key(id)).keys_only())
                    .then(Get::prefix(self.roots.run(id)).count_only())
            };
            let answer = self.connection.all_keys().send(ids.iter().fold(Txn::new(), ask)).await?;
            let answers: Vec<&GetResponse> = answer.responses.iter().filter_map(as_read).collect();
            entries.extend(ids.iter().zip(answers.chunks(READS)).filter_map(|(id, answers)| entry_of(id, answers)));
        }
        Ok(entries)
    }

    /// The segments below the test root that are neither the index nor one of these runs, with their keys. Looks
    /// between those that are known only: what costs is what is found, never what is passed over.
    async fn between(&self, index: &str, ids: &[RunId]) -> Result<Vec<(Option<String>, KeyRange)>, Error> {
        let root = self.roots.test_root();
        let mut known: Vec<String> = ids.iter().map(|id| self.roots.run(id)).collect();
        known.push(index.to_owned());
        known.sort();
        let mut gaps = Vec::new();
        let mut from = root.as_bytes().to_vec();
        for prefix in known {
            gaps.push((from, prefix.clone().into_bytes()));
            from = KeyRange::prefix(prefix).end().unwrap_or_default();
        }
        gaps.push((from, KeyRange::prefix(root).end().unwrap_or_default()));
        let mut found = BTreeMap::new();
        while !gaps.is_empty() {
            let mut left = Vec::new();
            for gaps in gaps.chunks(BATCH) {
                let ask = |txn: Txn, (from, to): &(Vec<u8>, Vec<u8>)| {
                    txn.then(Get::new(KeyRange::between(from.clone(), to.clone())).limit(1).keys_only())
                };
                let answer = self.connection.all_keys().send(gaps.iter().fold(Txn::new(), ask)).await?;
                let answers = answer.responses.iter().filter_map(as_read);
                for ((_, to), key) in gaps.iter().zip(answers).filter_map(|(gap, read)| Some((gap, read.kvs.first()?)))
                {
                    let (segment, range) = segment_of(&key.key, root.len());
                    left.push((range.end().unwrap_or_default(), to.clone()));
                    found.insert(range.start().to_vec(), (segment, range));
                }
            }
            gaps = left;
        }
        Ok(found.into_values().collect())
    }
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

/// The segment after a prefix that has so many bytes, and its keys: all below it, or a key without a slash alone.
fn segment_of(key: &[u8], prefix: usize) -> (Option<String>, KeyRange) {
    let rest = key.get(prefix..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => {
            let segment = rest.get(..slash).and_then(|segment| String::from_utf8(segment.to_vec()).ok());
            (segment, KeyRange::prefix(key.get(..=prefix + slash).unwrap_or_default()))
        }
        None => (None, KeyRange::key(key)),
    }
}

fn entry_of(id: &RunId, answers: &[&GetResponse]) -> Option<Entry> {
    let [record, alive, count] = answers else { return None };
    let record = record.kvs.first()?;
    let alive = !alive.kvs.is_empty();
    let keys = u64::try_from(count.count).unwrap_or(0).saturating_sub(1 + u64::from(alive));
    Some(Entry { id: id.clone(), found: Found::read(&record.value), revision: record.mod_revision, alive, keys })
}
