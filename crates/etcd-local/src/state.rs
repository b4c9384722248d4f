//! `instance.json`: what is known of an instance, for us and for anyone who wants to find the server. A hint:
//! the lock says whether a server lives, and every field is checked before anything is done on its word.

use std::io;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::cluster::ClusterId;
use crate::file;
use crate::process::Identity;
use crate::reporter::{Event, Reporter};

/// The version of the file's shape. A file with a larger one is left alone, under another name.
pub const SCHEMA: u32 = 1;

/// The file's name, in the instance's directory.
pub(crate) const FILE: &str = "instance.json";

/// The content of `.etcd/<instance>/instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The instance's name.
    pub instance: String,
    /// The client URLs.
    pub endpoints: Vec<String>,
    /// The peer URL, of the server's own port for other members.
    pub peer_url: String,
    /// The member's name.
    pub member: String,
    /// The server's version.
    pub version: Version,
    /// The program that was started.
    pub binary: PathBuf,
    /// etcd's `--data-dir`.
    pub data_dir: PathBuf,
    /// The server's log.
    pub log: PathBuf,
    /// The cluster's id, 16 hexadecimal digits; absent until it is known.
    pub cluster_id: Option<ClusterId>,
    /// The server's processes, the same as in `process`; empty while it is stopped.
    pub pids: Vec<u32>,
    /// The server's process; absent while it is stopped, and in the moment of its start.
    pub process: Option<Identity>,
    /// Milliseconds from spawn to proven ready, at the last start.
    pub ready_ms: Option<u64>,
}

/// Reads the record. What cannot be read is renamed, never deleted, and counts as absent.
pub(crate) fn load(path: &Path, reporter: &dyn Reporter) -> io::Result<Option<Record>> {
    let reason = match parse(path)? {
        Parsed::Record(record) => return Ok(Some(*record)),
        Parsed::Absent => return Ok(None),
        Parsed::Unusable(reason) => reason,
    };
    let path = file::set_aside(path)?;
    reporter.report(&Event::SetAside { path, reason });
    Ok(None)
}

/// Reads the record without touching anything; what cannot be read counts as absent.
pub(crate) fn peek(path: &Path) -> Option<Record> {
    match parse(path) {
        Ok(Parsed::Record(record)) => Some(*record),
        _ => None,
    }
}

enum Parsed {
    Record(Box<Record>),
    Absent,
    Unusable(String),
}

fn parse(path: &Path) -> io::Result<Parsed> {
    match std::fs::read(path) {
        Ok(text) => Ok(parse_text(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Parsed::Absent),
        Err(error) => Err(error),
    }
}

fn parse_text(text: &[u8]) -> Parsed {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }

    match serde_json::from_slice(text) {
        Ok(Schema { schema: SCHEMA }) => {}
        Ok(Schema { schema }) => return Parsed::Unusable(format!("its schema is {schema}, ours is {SCHEMA}")),
        Err(error) => return Parsed::Unusable(error.to_string()),
    }
    match serde_json::from_slice(text) {
        Ok(record) => Parsed::Record(Box::new(record)),
        Err(error) => Parsed::Unusable(error.to_string()),
    }
}

/// For the fuzz target: the record that a text is, if it is one.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &[u8]) -> Option<Record> {
    match parse_text(text) {
        Parsed::Record(record) => Some(*record),
        Parsed::Absent | Parsed::Unusable(_) => None,
    }
}

/// Writes the record, whole or not at all.
pub(crate) fn save(path: &Path, record: &Record) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    text.push(b'\n');
    file::replace(path, &text)
}
