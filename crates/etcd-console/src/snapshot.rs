//! Reads the newest keys of a snapshot file of etcd: what `etcdctl snapshot save` writes, or `member/snap/db` of a member that
//! is stopped. Values stay in the file until they are wanted, so that memory holds only the names of keys.

mod bbolt;

use std::collections::{BTreeMap, btree_map};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use etcd_keys::{KeyRange, KeyValue};
use prost::Message as _;

use self::bbolt::Database;
use crate::failure::{Exit, Failure};
use crate::output;

/// The length of the SHA-256 at the end of what `etcdctl snapshot save` writes.
const CHECKSUM: u64 = 32;
/// A database consists of pages, whose sizes are multiples of this.
const BLOCK: u64 = 512;
/// The bucket with all changes of keys: revision → key and value.
const CHANGES: &[u8] = b"key";
/// The length of a revision there: main and sub revision, 8 bytes each, and `_` between them. A deletion has `t` after it.
const REVISION: usize = 17;
/// How many bytes are hashed together.
const CHUNK: usize = 1 << 20;

pub(crate) struct Snapshot {
    database: Database,
    keys: btree_map::IntoIter<Vec<u8>, Place>,
}

/// A key as it is stored.
pub(crate) struct Stored {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) mod_revision: i64,
}

impl From<KeyValue> for Stored {
    fn from(KeyValue { key, value, mod_revision, .. }: KeyValue) -> Self {
        Self { key, value, mod_revision }
    }
}

/// The part of etcd's `mvccpb.KeyValue` that is wanted.
#[derive(prost::Message)]
struct Change {
    #[prost(bytes = "vec", tag = 1)]
    key: Vec<u8>,
    #[prost(int64, tag = 3)]
    mod_revision: i64,
    #[prost(bytes = "vec", tag = 5)]
    value: Vec<u8>,
}

/// Where a key's newest value is in the file.
struct Place {
    at: u64,
    length: usize,
}

impl Snapshot {
    /// Opens a file, and looks up the keys of a range.
    pub(crate) fn open(path: &Path, range: &KeyRange) -> Result<Self> {
        Self::read(path, range).map_err(|error| {
            let next = match error.downcast_ref() {
                Some(InUse) => "stop that etcd, or compare with a snapshot: `cargo xtask etcdctl -- snapshot save FILE`",
                None => {
                    "what is compared is a revision, http://HOST:PORT, cluster:NAME, instance:NAME, or a snapshot file of etcd"
                }
            };
            let what = format!("cannot read {} as a snapshot", output::path(path));
            error.context(Failure { exit: Exit::Usage, what, next: next.to_owned() })
        })
    }

    fn read(path: &Path, range: &KeyRange) -> Result<Self> {
        let file = File::open(path)?;
        // As long as the file is open, no etcd changes it.
        if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            return Err(InUse.into());
        }
        let length = file.metadata()?.len();
        let database = match length % BLOCK {
            0 => length,
            CHECKSUM => {
                check(&file, length - CHECKSUM)?;
                length - CHECKSUM
            }
            _ => bail!("it is cut off, or not a snapshot of etcd"),
        };
        let mut database = Database::open(file, database)?;
        let mut keys = BTreeMap::new();
        database.entries(CHANGES, |change| {
            ensure!(change.key.len() >= REVISION, "it is damaged: a change has no revision");
            let key = Change::decode(change.value).context("it is damaged: a change cannot be decoded")?.key;
            if range.contains(&key) {
                let is_deletion = change.key.len() > REVISION;
                match is_deletion {
                    true => keys.remove(&key),
                    false => keys.insert(key, Place { at: change.at, length: change.value.len() }),
                };
            }
            Ok(())
        })?;
        Ok(Self { database, keys: keys.into_iter() })
    }

    /// The next key, in their order.
    pub(crate) fn try_next(&mut self) -> Result<Option<Stored>> {
        let Some((_, Place { at, length })) = self.keys.next() else { return Ok(None) };
        let Change { key, value, mod_revision } = Change::decode(&*self.database.read(at, length)?)?;
        Ok(Some(Stored { key, value, mod_revision }))
    }
}

/// An etcd has the file open.
#[derive(Debug)]
struct InUse;

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an etcd that runs has it open")
    }
}

impl std::error::Error for InUse {}

/// Compares the first bytes of a file with the checksum after them.
fn check(mut file: &File, length: u64) -> Result<()> {
    let (mut hash, mut data, mut chunk) = (hmac_sha256::Hash::new(), file.take(length), vec![0; CHUNK]);
    loop {
        match data.read(&mut chunk)? {
            0 => break,
            count => hash.update(chunk.get(..count).unwrap_or_default()),
        }
    }
    let mut checksum = [0; CHECKSUM as usize];
    file.read_exact(&mut checksum)?;
    ensure!(hash.finalize() == checksum, "it is damaged: its checksum is of other data");
    Ok(file.rewind()?)
}
