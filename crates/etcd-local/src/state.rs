//! Writing `instance.json`, and what is done about one that cannot be used. Its shape is etcd-workspace's.

use std::io;
use std::path::Path;

use etcd_workspace::{InstanceError, Record};

use crate::file;
use crate::reporter::{Event, Reporter};

/// Reads the record. What cannot be read is renamed, never deleted, and counts as absent.
pub(crate) fn load(path: &Path, reporter: &dyn Reporter) -> io::Result<Option<Record>> {
    let reason = match Record::read(path) {
        Ok(record) => return Ok(record),
        Err(InstanceError::Unreadable { source, .. }) => return Err(source),
        Err(InstanceError::Damaged { reason, .. }) => reason,
        Err(error) => error.to_string(),
    };
    let path = file::set_aside(path)?;
    reporter.report(&Event::SetAside { path, reason });
    Ok(None)
}

/// Reads the record without touching anything; what cannot be read counts as absent.
pub(crate) fn peek(path: &Path) -> Option<Record> {
    Record::read(path).ok().flatten()
}

/// Writes the record, whole or not at all.
pub(crate) fn save(path: &Path, record: &Record) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    text.push(b'\n');
    file::replace(path, &text)
}
