//! Putting keys back: the whole file is checked first, then written in small transactions, each key only
//! where there is none. What a deletion that was killed takes meanwhile comes back, too. Doing it again changes
//! nothing.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::UndoError;
use super::format::{Entry, Header};
use super::lines::{Lines, check};
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;
use crate::client::retry::{PATIENCE, Retry};

/// Keys in one transaction. etcd allows 128 operations.
const MOST_KEYS: usize = 100;
/// Bytes in one transaction, its keys counted three times. etcd allows 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;
/// Conflicts that are named; the rest is counted.
const NAMED: usize = 1000;
/// How long the last chunk of a deletion that was killed may be on its way to the server, where others overtake it.
const STRAGGLER: Duration = Duration::from_millis(500);
/// How often is looked for it. It is one transaction, but may come while it is looked for.
const LOOKS: usize = 2;

/// Puts back what an undo file holds.
#[derive(Clone, Debug)]
#[must_use = "nothing is put back before it is run"]
pub struct Restore {
    connection: Connection,
    path: PathBuf,
    overwrite: bool,
    any_cluster: bool,
}

/// What became of the keys of an undo file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Keys of the file.
    pub total: u64,
    /// Keys that were put back.
    pub restored: u64,
    /// Keys that were there with the same value: never deleted, or put back before.
    pub unchanged: u64,
    /// Keys that were there with another value and were overwritten, as asked.
    pub overwritten: u64,
    /// Keys that are there with another value, and were left alone.
    pub conflicting: u64,
    /// Those keys, at most 1,000 of them.
    pub conflicts: Vec<Conflict>,
    /// Keys put back that had a lease, and now have none.
    pub without_lease: u64,
}

/// A key that was changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
}

impl Connection {
    /// Puts back what an undo file holds, by full names; nothing happens yet.
    pub fn restore(&self, path: impl Into<PathBuf>) -> Restore {
        Restore { connection: self.clone(), path: path.into(), overwrite: false, any_cluster: false }
    }
}

impl Restore {
    /// Overwrites keys that were changed since.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Puts keys into another cluster than the one that they were in.
    pub fn any_cluster(mut self) -> Self {
        self.any_cluster = true;
        self
    }

    /// Checks the file, then puts its keys back, and tells `heard` after every transaction.
    ///
    /// # Errors
    /// If the file is damaged or cut off, or of another cluster: nothing was changed then. If etcd refuses, or with
    /// [`UndoError::Changed`]: running it again puts back the rest.
    pub async fn run(&self, mut heard: impl FnMut(&Restored)) -> Result<Restored, UndoError> {
        let path = self.path.clone();
        let (header, total) = self.blocking(move || check(&path)).await?;
        self.check_cluster(&header).await?;
        let mut done = Restored { total, ..Restored::default() };
        let passed = self.pass(None, &mut done, &mut heard).await;
        let mut untouched = passed.map_err(|error| error.midway(done.restored))?;
        // A deletion that was killed may have a chunk on its way. What it would still find to delete is looked at
        // again, and nothing else: what others delete from now on is deleted.
        let again = Self { overwrite: false, ..self.clone() };
        for _ in 0..LOOKS {
            if untouched.is_empty() {
                break;
            }
            tokio::time::sleep(STRAGGLER).await;
            let mut late = Restored { total, ..Restored::default() };
            let passed = again.pass(Some(untouched), &mut late, &mut |_| ()).await;
            untouched = passed.map_err(|error| error.midway(done.restored + late.restored))?;
            if late.restored == 0 {
                break;
            }
            done.restored += late.restored;
            done.without_lease += late.without_lease;
            done.unchanged = done.unchanged.saturating_sub(late.restored);
            heard(&done);
        }
        Ok(done)
    }

    /// Puts back what is missing, of all keys or of some; answers which keys are as the deletion left them, neither
    /// deleted nor written since, so that it would take them.
    async fn pass(
        &self,
        among: Option<Untouched>,
        done: &mut Restored,
        heard: &mut impl FnMut(&Restored),
    ) -> Result<Untouched, UndoError> {
        let path = self.path.clone();
        let mut batches = self.blocking(move || Batches::open(&path, among)).await?;
        let mut untouched = Untouched::default();
        loop {
            let (rest, batch) = self.blocking(move || batches.next().map(|batch| (batches, batch))).await?;
            batches = rest;
            if batch.is_empty() {
                return Ok(untouched.in_order());
            }
            self.put_back(batch, done, &mut untouched).await?;
            heard(done);
        }
    }

    /// Reads on a thread that may wait for a disk: the runtime's would keep all else waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, UndoError> + Send + 'static,
    ) -> Result<T, UndoError> {
        let failed = |error| UndoError::File { what: "read", path: self.path.clone(), source: io::Error::other(error) };
        tokio::task::spawn_blocking(read).await.map_err(failed)?
    }

    async fn check_cluster(&self, header: &Header) -> Result<(), UndoError> {
        let damaged = |reason| UndoError::Damaged { path: self.path.clone(), line: 1, reason };
        let file = header.cluster().map_err(damaged)?;
        let here = crate::bulk::delete::cluster_id(&self.connection, &KeyRange::key("\0")).await?;
        if here == file || self.any_cluster {
            return Ok(());
        }
        let endpoint = Some(header.endpoint.clone()).filter(|endpoint| endpoint != self.connection.endpoint());
        Err(UndoError::AnotherCluster { path: self.path.clone(), file, here, endpoint })
    }

    /// Puts back those that are not there; those that are, are looked at. What is too much for the server at once goes
    /// in halves.
    async fn put_back(
        &self,
        batch: Vec<Entry>,
        done: &mut Restored,
        untouched: &mut Untouched,
    ) -> Result<(), UndoError> {
        let mut todo = vec![batch];
        while let Some(mut batch) = todo.pop() {
            if batch.is_empty() {
                continue;
            }
            let answers = match self.transact(absent(&batch)).await {
                Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) => {
                    if batch.len() > 1 {
                        todo.push(batch.split_off(batch.len() / 2));
                        todo.push(batch);
                    } else if let Some(entry) = batch.pop() {
                        self.put_alone(entry, done, untouched).await?;
                    }
                    continue;
                }
                answers => answers?,
            };
            let Some(answers) = answers else {
                batch.iter().for_each(|entry| done.put_back(entry));
                continue;
            };
            let mut missing = Vec::new();
            for (entry, there) in batch.into_iter().zip(answers) {
                match there {
                    None => missing.push(entry),
                    Some(there) => self.meet(entry, &there, done, untouched).await?,
                }
            }
            todo.push(missing);
        }
        Ok(())
    }

    /// A key that is there already.
    async fn meet(
        &self,
        entry: Entry,
        there: &KeyValue,
        done: &mut Restored,
        untouched: &mut Untouched,
    ) -> Result<(), UndoError> {
        if there.value() == entry.value {
            done.unchanged += 1;
            if there.mod_revision() == entry.mod_revision {
                untouched.add(entry.line);
            }
        } else if self.overwrite {
            self.put(entry).await?;
            done.overwritten += 1;
        } else {
            done.conflicting += 1;
            if done.conflicts.len() < NAMED {
                done.conflicts.push(Conflict { key: entry.key, mod_revision: there.mod_revision() });
            }
        }
        Ok(())
    }

    /// One so close to the server's limit that the transaction has no room for reading what is there instead.
    async fn put_alone(&self, entry: Entry, done: &mut Restored, untouched: &mut Untouched) -> Result<(), UndoError> {
        loop {
            let put = TxnOp::put(entry.key.clone(), entry.value.clone(), None);
            let is_guarded = match self.transact(Txn::new().when([is_absent(&entry)]).and_then([put])).await {
                Ok(None) => break,
                Ok(Some(_)) => true,
                // Not even for its name once more: then a look before the plain put has to do.
                Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) => false,
                Err(error) => return Err(error.into()),
            };
            let read = || Operation::Read(KeyRange::key(entry.key.clone()));
            let answer = self.connection.call(read, self.connection.kv().get(entry.key.clone(), None)).await?;
            match answer.kvs().first() {
                Some(there) => return self.meet(entry, there, done, untouched).await,
                None if is_guarded => {}
                None => {
                    self.put(entry.clone()).await?;
                    break;
                }
            }
        }
        done.put_back(&entry);
        Ok(())
    }

    async fn put(&self, entry: Entry) -> Result<(), UndoError> {
        let Entry { key, value, .. } = entry;
        let write = || Operation::Write(KeyRange::key(key.clone()));
        self.connection.call(write, self.connection.kv().put(key.clone(), value, None)).await?;
        Ok(())
    }

    /// `None`: it was done; else what is there, key by key. A server that goes away is waited for, 5 s.
    async fn transact(&self, txn: Txn) -> Result<Option<Vec<Option<KeyValue>>>, Error> {
        let mut retry = Retry::new(PATIENCE);
        loop {
            let mut kv = self.connection.kv();
            let call = self.connection.call(|| Operation::Commit, kv.txn(txn.clone()));
            match retry.attempt(call).await? {
                Some(answer) if answer.succeeded() => return Ok(None),
                Some(answer) => return Ok(Some(answer.op_responses().into_iter().map(found).collect())),
                None => {}
            }
        }
    }
}

/// The keys of a file that was whole when it was checked, as many at a time as one transaction takes.
struct Batches {
    /// `None`: they have been read to their end.
    lines: Option<Lines>,
    /// Only these.
    among: Option<Untouched>,
    /// The next one, which had no room any more.
    next: Option<Entry>,
}

impl Batches {
    fn open(path: &Path, among: Option<Untouched>) -> Result<Self, UndoError> {
        let mut lines = Lines::open(path)?;
        lines.next()?;
        Ok(Self { lines: Some(lines), among, next: None })
    }

    /// The next ones; none after the last.
    fn next(&mut self) -> Result<Vec<Entry>, UndoError> {
        let mut batch: Vec<Entry> = self.next.take().into_iter().collect();
        let size = |entry: &Entry| entry.key.len() * 3 + entry.value.len() + 64;
        let mut bytes: usize = batch.iter().map(size).sum();
        while let Some(lines) = &mut self.lines {
            let Some(entry) = lines.entry_of_whole()? else {
                self.lines = None;
                break;
            };
            if self.among.as_ref().is_some_and(|among| !among.contains(entry.line)) {
                continue;
            }
            bytes += size(&entry);
            if !batch.is_empty() && (batch.len() >= MOST_KEYS || bytes > MOST_BYTES) {
                self.next = Some(entry);
                break;
            }
            batch.push(entry);
        }
        Ok(batch)
    }
}

impl Restored {
    fn put_back(&mut self, entry: &Entry) {
        self.restored += 1;
        self.without_lease += u64::from(entry.lease != 0);
    }
}

/// Keys that are as the deletion left them, by their lines: in ranges, as a deletion leaves them.
#[derive(Default)]
struct Untouched(Vec<Range<u64>>);

impl Untouched {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, line: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == line => last.end += 1,
            _ => self.0.push(line..line + 1),
        }
    }

    /// Lines of one batch may come out of order.
    fn in_order(mut self) -> Self {
        self.0.sort_unstable_by_key(|lines| lines.start);
        self
    }

    fn contains(&self, line: u64) -> bool {
        let after = self.0.partition_point(|lines| lines.start <= line);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|lines| lines.contains(&line))
    }
}

fn is_absent(entry: &Entry) -> Compare {
    Compare::create_revision(entry.key.clone(), CompareOp::Equal, 0)
}

/// Puts all if none is there, else gets all.
fn absent(batch: &[Entry]) -> Txn {
    let put = |entry: &Entry| TxnOp::put(entry.key.clone(), entry.value.clone(), None);
    let get = |entry: &Entry| TxnOp::get(entry.key.clone(), Some(GetOptions::new()));
    Txn::new()
        .when(batch.iter().map(is_absent).collect::<Vec<_>>())
        .and_then(batch.iter().map(put).collect::<Vec<_>>())
        .or_else(batch.iter().map(get).collect::<Vec<_>>())
}

fn found(answer: TxnOpResponse) -> Option<KeyValue> {
    match answer {
        TxnOpResponse::Get(mut answer) => answer.take_kvs().into_iter().next(),
        _ => None,
    }
}
