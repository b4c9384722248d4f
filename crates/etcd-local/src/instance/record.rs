//! Writing `instance.json`, and what is done about one that cannot be used. Its shape is etcd-workspace's.

use std::io;
use std::path::Path;

use etcd_workspace::{InstanceError, Record};

use crate::file;
use crate::reporter::{Event, Reporter};

/// Reads the record. One that is damaged is renamed, never deleted, and counts as absent.
///
/// # Errors
/// If the record cannot be read, or a newer version wrote it: then it is left alone.
pub(crate) fn load(path: &Path, reporter: &dyn Reporter) -> Result<Option<Record>, InstanceError> {
    let reason = match Record::read(path) {
        Err(InstanceError::Damaged { reason, .. }) => reason,
        read => return read,
    };
    let path = file::set_aside(path).map_err(|source| InstanceError::Unreadable { path: path.to_owned(), source })?;
    reporter.report(&Event::SetAside { path, reason });
    Ok(None)
}

/// The same, without touching anything.
pub(crate) fn peek(path: &Path) -> Result<Option<Record>, InstanceError> {
    match Record::read(path) {
        Err(InstanceError::Damaged { .. }) => Ok(None),
        read => read,
    }
}

/// Writes the record, whole or not at all.
pub(crate) fn save(path: &Path, record: &Record) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    text.push(b'\n');
    file::replace(path, &text)
}
