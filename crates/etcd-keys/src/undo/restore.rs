//! Putting keys back: the whole file is checked first, then written in small transactions, each key only
//! where there is none. What a deletion that was killed takes meanwhile comes back, too. Doing it again changes
//! nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::UndoError;
use super::format::{self, Entry, Header, Line};
use crate::connect::Connection;
use crate::error::{Error, Kind, Operation};
use crate::range::KeyRange;
use crate::retry::{PATIENCE, Retry};

/// Keys in one transaction. etcd allows 128 operations.
const MOST_KEYS: usize = 100;
/// Bytes in one transaction, its keys counted three times. etcd allows 1.5 MiB.
const MOST_BYTES: usize = 1 << 20;
/// Conflicts that are named; the rest is counted.
const NAMED: usize = 1000;
/// How long the last chunk of a deletion that was killed may be on its way to the server, where others overtake it.
const STRAGGLER: Duration = Duration::from_millis(500);

/// Puts back what an undo file holds.
#[derive(Clone)]
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

impl Restore {
    /// Of a file; nothing happens yet.
    #[must_use]
    pub fn new(connection: &Connection, path: impl Into<PathBuf>) -> Self {
        Self { connection: connection.clone(), path: path.into(), overwrite: false, any_cluster: false }
    }

    /// Overwrites keys that were changed since.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Puts keys into another cluster than the one that they were in.
    #[must_use]
    pub fn any_cluster(mut self) -> Self {
        self.any_cluster = true;
        self
    }

    /// Checks the file, then puts its keys back, and tells `heard` after every transaction.
    ///
    /// # Errors
    /// If the file is damaged or cut off, or of another cluster: nothing was changed then. If etcd refuses:
    /// running it again puts back the rest.
    pub async fn run(&self, mut heard: impl FnMut(&Restored)) -> Result<Restored, UndoError> {
        let path = self.path.clone();
        let checked = tokio::task::spawn_blocking(move || check(&path)).await;
        let (header, total) = checked.map_err(|error| self.unreadable(io::Error::other(error)))??;
        self.check_cluster(&header).await?;
        let mut done = Restored { total, ..Restored::default() };
        let mut untouched = self.pass(&mut done, &mut heard).await?;
        // A deletion that was killed may have a chunk on its way. What it still found to delete is looked at
        // again, until nothing is missing any more.
        let again = Self { overwrite: false, ..self.clone() };
        while untouched > 0 {
            tokio::time::sleep(STRAGGLER).await;
            let mut late = Restored { total, ..Restored::default() };
            untouched = again.pass(&mut late, &mut |_| ()).await?;
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

    /// Puts back what is missing; answers how many keys are as the deletion left them, neither deleted nor written
    /// since, so that it would take them.
    async fn pass(&self, done: &mut Restored, heard: &mut impl FnMut(&Restored)) -> Result<u64, UndoError> {
        let mut lines = Lines::open(&self.path)?;
        lines.next()?;
        let (mut batch, mut bytes, mut untouched) = (Vec::new(), 0, 0);
        while let Some(Line::Entry(entry)) = lines.entry()? {
            let size = entry.key.len() * 3 + entry.value.len() + 64;
            if batch.len() >= MOST_KEYS || bytes + size > MOST_BYTES {
                untouched += self.put_back(std::mem::take(&mut batch), done).await?;
                heard(done);
                bytes = 0;
            }
            bytes += size;
            batch.push(entry);
        }
        untouched += self.put_back(batch, done).await?;
        heard(done);
        Ok(untouched)
    }

    fn unreadable(&self, source: io::Error) -> UndoError {
        UndoError::File { what: "read", path: self.path.clone(), source }
    }

    async fn check_cluster(&self, header: &Header) -> Result<(), UndoError> {
        let damaged = |reason| UndoError::Damaged { path: self.path.clone(), line: 1, reason };
        let file = header.cluster().map_err(damaged)?;
        let here = crate::delete::cluster_id(&self.connection, &KeyRange::key("\0")).await?;
        if here == file || self.any_cluster {
            return Ok(());
        }
        Err(UndoError::AnotherCluster { path: self.path.clone(), file, here })
    }

    /// Puts back those that are not there; those that are, are looked at. Answers how many are untouched.
    async fn put_back(&self, mut batch: Vec<Entry>, done: &mut Restored) -> Result<u64, UndoError> {
        let mut untouched = 0;
        while !batch.is_empty() {
            let answers = match self.transact(absent(&batch)).await {
                Err(error) if matches!(error.kind, Kind::TooLarge(_)) => {
                    return Ok(untouched + self.put_large(batch, done).await?);
                }
                answer => answer?,
            };
            let Some(answers) = answers else {
                done.restored += batch.len() as u64;
                done.without_lease += batch.iter().filter(|entry| entry.lease != 0).count() as u64;
                break;
            };
            let mut missing = Vec::new();
            for (entry, there) in batch.into_iter().zip(answers) {
                match there {
                    None => missing.push(entry),
                    Some(there) => untouched += self.meet(entry, &there, done).await?,
                }
            }
            batch = missing;
        }
        Ok(untouched)
    }

    /// A key that is there already; answers 1 if it is untouched.
    async fn meet(&self, entry: Entry, there: &KeyValue, done: &mut Restored) -> Result<u64, UndoError> {
        if there.mod_revision() == entry.mod_revision {
            done.unchanged += 1;
            return Ok(1);
        }
        if there.value() == entry.value {
            done.unchanged += 1;
        } else if self.overwrite {
            self.put(entry).await?;
            done.overwritten += 1;
        } else {
            done.conflicting += 1;
            if done.conflicts.len() < NAMED {
                done.conflicts.push(Conflict { key: entry.key, mod_revision: there.mod_revision() });
            }
        }
        Ok(0)
    }

    /// Values so close to the server's limit that a transaction has no room for them: a look, then a plain put.
    async fn put_large(&self, batch: Vec<Entry>, done: &mut Restored) -> Result<u64, UndoError> {
        let mut untouched = 0;
        for entry in batch {
            let read = || Operation::Read(KeyRange::key(entry.key.clone()));
            let answer = self.connection.call(read, self.connection.kv().get(entry.key.clone(), None)).await?;
            if let Some(there) = answer.kvs().first() {
                untouched += self.meet(entry, there, done).await?;
            } else {
                done.without_lease += u64::from(entry.lease != 0);
                self.put(entry).await?;
                done.restored += 1;
            }
        }
        Ok(untouched)
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

/// Puts all if none is there, else gets all.
fn absent(batch: &[Entry]) -> Txn {
    let when = |entry: &Entry| Compare::create_revision(entry.key.clone(), CompareOp::Equal, 0);
    let put = |entry: &Entry| TxnOp::put(entry.key.clone(), entry.value.clone(), None);
    let get = |entry: &Entry| TxnOp::get(entry.key.clone(), Some(GetOptions::new()));
    Txn::new()
        .when(batch.iter().map(when).collect::<Vec<_>>())
        .and_then(batch.iter().map(put).collect::<Vec<_>>())
        .or_else(batch.iter().map(get).collect::<Vec<_>>())
}

fn found(answer: TxnOpResponse) -> Option<KeyValue> {
    match answer {
        TxnOpResponse::Get(mut answer) => answer.take_kvs().into_iter().next(),
        _ => None,
    }
}

/// Reads a file from end to end; answers its header and how many keys it has.
fn check(path: &Path) -> Result<(Header, u64), UndoError> {
    let mut lines = Lines::open(path)?;
    let header = match lines.next()? {
        Some(line) => Header::parse(line),
        None => Err("the file is empty".to_owned()),
    };
    let header = header.map_err(|reason| lines.damaged(reason))?;
    let mut keys = 0;
    loop {
        match lines.entry()? {
            Some(Line::Entry(_)) => keys += 1,
            Some(Line::End(said)) if said == keys && keys == header.keys => break,
            Some(Line::End(said)) => {
                let reason = format!("it has {keys} keys, but should have {} ({said} at its end)", header.keys);
                return Err(lines.damaged(reason));
            }
            None => return Err(lines.damaged("the file is cut off here: its last line is missing".to_owned())),
        }
    }
    match lines.next()? {
        None => Ok((header, keys)),
        Some(_) => Err(lines.damaged("there is more after the end".to_owned())),
    }
}

/// A file's lines, one at a time.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: String,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, UndoError> {
        let file =
            File::open(path).map_err(|source| UndoError::File { what: "read", path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 18, file),
            line: String::new(),
            number: 0,
        })
    }

    fn next(&mut self) -> Result<Option<&str>, UndoError> {
        self.line.clear();
        self.number += 1;
        match self.file.read_line(&mut self.line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.line.trim_end())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.damaged("it is no text".to_owned())),
            Err(source) => Err(UndoError::File { what: "read", path: self.path.clone(), source }),
        }
    }

    fn entry(&mut self) -> Result<Option<Line>, UndoError> {
        let parsed = self.next()?.map(format::parse).transpose();
        parsed.map_err(|reason| self.damaged(reason))
    }

    fn damaged(&self, reason: String) -> UndoError {
        UndoError::Damaged { path: self.path.clone(), line: self.number, reason }
    }
}
