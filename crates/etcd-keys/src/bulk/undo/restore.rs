//! Restores keys from an undo file. First checks the whole file. Then writes the keys in small transactions, each key only
//! if it is absent. If the deletion was killed, its last chunk may be applied late: those keys are restored, too. Running
//! it again changes nothing.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::UndoError;
use super::format::{Entry, Header};
use super::lines::{Lines, check};
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::kv::revision;
use crate::client::range::KeyRange;
use crate::client::retry::{RETRY_TIMEOUT, Retry};

/// The most keys in one transaction. etcd allows 128 operations.
const MOST_KEYS: usize = 100;
/// The most bytes in one transaction, which has each key three times. etcd allows 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;
/// The most conflicts to name. Further conflicts are only counted.
const MAX_NAMED_CONFLICTS: usize = 1000;
/// How late the server may apply the last chunk of a deletion that was killed, after requests that were sent later.
const LATE_CHUNK_DELAY: Duration = Duration::from_millis(500);
/// How many times to check for that chunk. It is one transaction, but may be applied during a check.
const LATE_CHUNK_CHECKS: usize = 2;

/// Restores the keys of an undo file.
#[derive(Clone, Debug)]
#[must_use = "a restore does nothing until it is run"]
pub struct Restore {
    connection: Connection,
    path: PathBuf,
    overwrite: bool,
    any_cluster: bool,
}

/// What happened to the keys of an undo file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// All keys of the file.
    pub total: u64,
    /// Keys that were absent and were restored.
    pub restored: u64,
    /// Keys that existed with the same value: they were not deleted, or restored before.
    pub unchanged: u64,
    /// Keys that existed with another value and were overwritten.
    pub overwritten: u64,
    /// Keys that exist with another value and were left alone.
    pub conflicting: u64,
    /// The conflicting keys, at most 1,000.
    pub conflicts: Vec<Conflict>,
    /// Restored keys that had a lease and now have none.
    pub without_lease: u64,
}

/// A key that was changed after the deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
}

impl Connection {
    /// Restores the keys of an undo file, by their full names. Sends no request until [`Restore::run`].
    pub fn restore(&self, path: impl Into<PathBuf>) -> Restore {
        Restore { connection: self.clone(), path: path.into(), overwrite: false, any_cluster: false }
    }
}

impl Restore {
    /// Overwrites keys that were changed after the deletion.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Allows to restore into another cluster than the one that the keys were in.
    pub fn any_cluster(mut self) -> Self {
        self.any_cluster = true;
        self
    }

    /// Checks the file, then restores its keys. Calls `on_progress` after every transaction.
    ///
    /// # Errors
    /// If the file is damaged, incomplete, or of another cluster, no key was changed. After [`UndoError::Etcd`] or
    /// [`UndoError::Changed`] some keys may have been restored: running it again restores the rest.
    pub async fn run(&self, mut on_progress: impl FnMut(&Restored)) -> Result<Restored, UndoError> {
        let path = self.path.clone();
        let (header, total) = self.blocking(move || check(&path)).await?;
        self.check_cluster(&header).await?;
        let mut done = Restored { total, ..Restored::default() };
        let outcome = self.restore_pass(None, &mut done, &mut on_progress).await;
        let mut untouched = outcome.map_err(|error| error.after_partial_restore(done.restored))?;
        // A deletion that was killed may have one more chunk on its way. Only the keys that this chunk could still delete
        // are checked again, so that keys that others delete from now on stay deleted.
        let again = Self { overwrite: false, ..self.clone() };
        for _ in 0..LATE_CHUNK_CHECKS {
            if untouched.is_empty() {
                break;
            }
            tokio::time::sleep(LATE_CHUNK_DELAY).await;
            let mut late = Restored { total, ..Restored::default() };
            let outcome = again.restore_pass(Some(untouched), &mut late, &mut |_| ()).await;
            untouched = outcome.map_err(|error| error.after_partial_restore(done.restored + late.restored))?;
            if late.restored == 0 {
                break;
            }
            done.restored += late.restored;
            done.without_lease += late.without_lease;
            done.unchanged = done.unchanged.saturating_sub(late.restored);
            on_progress(&done);
        }
        Ok(done)
    }

    /// Restores the absent keys, of the whole file or of `among`. Returns the keys that the deletion could still delete:
    /// they were neither deleted nor written since.
    async fn restore_pass(
        &self,
        among: Option<Untouched>,
        done: &mut Restored,
        on_progress: &mut impl FnMut(&Restored),
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
            on_progress(done);
        }
    }

    /// Reads on a thread for blocking work, so that a slow disk does not block the runtime.
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

    /// Restores the absent keys of a batch, and handles those that exist. Halves a batch that is too large for the server.
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
                    Some(there) => self.handle_existing(entry, &there, done, untouched).await?,
                }
            }
            todo.push(missing);
        }
        Ok(())
    }

    /// Handles a key that exists.
    async fn handle_existing(
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
            if done.conflicts.len() < MAX_NAMED_CONFLICTS {
                done.conflicts.push(Conflict { key: entry.key, mod_revision: there.mod_revision() });
            }
        }
        Ok(())
    }

    /// Restores a key whose value is so large that the transaction has no room for a read of the existing key.
    async fn put_alone(&self, entry: Entry, done: &mut Restored, untouched: &mut Untouched) -> Result<(), UndoError> {
        loop {
            let put = TxnOp::put(entry.key.clone(), entry.value.clone(), None);
            let is_conditional = match self.transact(Txn::new().when([is_absent(&entry)]).and_then([put])).await {
                Ok(None) => break,
                Ok(Some(_)) => true,
                // There is not even room for a comparison: check with a read, then put without a condition.
                Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) => false,
                Err(error) => return Err(error.into()),
            };
            let read = || Operation::Read(KeyRange::key(entry.key.clone()));
            let answer = self.connection.call(read, self.connection.kv().get(entry.key.clone(), None)).await?;
            match answer.kvs().first() {
                Some(there) => return self.handle_existing(entry, there, done, untouched).await,
                None if is_conditional => {}
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
        let mut kv = self.connection.kv();
        let call = self.connection.call(write, kv.put(key.clone(), value, None));
        self.connection.write(call, |answer| Some(revision(answer.header()))).await?;
        Ok(())
    }

    /// Commits a transaction; retries for 5 s if the server goes away. `None`: all keys were restored. Else the existing
    /// keys, in the order of the batch.
    async fn transact(&self, txn: Txn) -> Result<Option<Vec<Option<KeyValue>>>, Error> {
        let mut retry = Retry::new(RETRY_TIMEOUT);
        loop {
            let mut kv = self.connection.kv();
            let call = self.connection.call(|| Operation::Commit, kv.txn(txn.clone()));
            let written = |answer: &TxnResponse| answer.succeeded().then(|| revision(answer.header()));
            match retry.attempt(self.connection.write(call, written)).await? {
                Some(answer) if answer.succeeded() => return Ok(None),
                Some(answer) => return Ok(Some(answer.op_responses().into_iter().map(found).collect())),
                None => {}
            }
        }
    }
}

/// The keys of a checked file, in batches for one transaction.
struct Batches {
    /// `None` at the end of the file.
    lines: Option<Lines>,
    /// If set, only these keys.
    among: Option<Untouched>,
    /// The first key of the next batch, which did not fit into the last one.
    next: Option<Entry>,
}

impl Batches {
    fn open(path: &Path, among: Option<Untouched>) -> Result<Self, UndoError> {
        let mut lines = Lines::open(path)?;
        lines.next()?;
        Ok(Self { lines: Some(lines), among, next: None })
    }

    /// The next batch; empty at the end.
    fn next(&mut self) -> Result<Vec<Entry>, UndoError> {
        let mut batch: Vec<Entry> = self.next.take().into_iter().collect();
        let size = |entry: &Entry| entry.key.len() * 3 + entry.value.len() + 64;
        let mut bytes: usize = batch.iter().map(size).sum();
        while let Some(lines) = &mut self.lines {
            let Some(entry) = lines.next_entry()? else {
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

/// Keys that were neither deleted nor written since, as ranges of lines in the file.
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

    /// Sorts the ranges: the lines of one batch may come out of order.
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

/// Puts all keys if none of them exists, else reads all of them.
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
