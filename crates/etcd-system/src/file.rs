//! Small files that are there whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::NotYours;
use tempfile::PathPersistError as PersistError;

use crate::wait::{Deadline, until};
use crate::{os, random};

/// The system refused to do something to a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct PathError {
    /// What was to be done, a verb.
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Puts an error of the system's into context, for `map_err`.
pub fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PathError + use<> {
    let path = path.to_owned();
    move |source| PathError { action, source: NotYours::explain(source, &path), path }
}

/// Replaces `path` by `content`: written beside it, synced, renamed. A reader sees the old or the new one.
///
/// # Errors
/// What the system says; the old one is still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = dir_of(path);
    let mut scratch = tempfile::Builder::new().prefix(SCRATCH).tempfile_in(dir)?;
    scratch.write_all(content)?;
    scratch.as_file().sync_all()?;
    let mut scratch = Some(scratch.into_temp_path());
    let mut refused = io::Error::from(io::ErrorKind::ResourceBusy);
    let replaced =
        until(Deadline::after(BUSY_TIMEOUT), || match scratch.take().map(|scratch| scratch.persist(path)) {
            Some(Err(PersistError { error, path })) if is_busy(&error) => {
                scratch = Some(path);
                refused = error;
                Ok(None)
            }
            Some(Err(error)) => Err(error.error),
            Some(Ok(())) | None => Ok(Some(())),
        })?;
    replaced.ok_or(refused)?;
    os::sync_dir(dir)
}

/// The directory that a file is in. [`Path::parent`] of a bare name is the empty path, which no system opens.
fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether files can be made in a directory.
///
/// # Errors
/// Why they cannot.
pub fn check_writable(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}

/// Whether two paths lead to the same file, by whatever links.
pub fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a path leads to a directory; an error is no answer, and not a no.
pub fn is_dir(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How files begin that [`replace`] has not finished.
pub const SCRATCH: &str = ".etcd-local-tmp-";

/// Removes files that a killed [`replace`] left in `dir`. The caller makes sure that no other process is writing there.
pub fn remove_scratch(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_scratch = entry.file_name().to_str().is_some_and(|name| name.starts_with(SCRATCH));
        if is_scratch && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // A file that cannot be removed does no harm.
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// How long a reader, or a virus scanner, may keep a file open that is to be replaced.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Windows does not replace a file that is open, even only for reading (5: access denied), and does not move a file that is
/// open without sharing (32: sharing violation).
fn is_busy(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32))
}

/// Renames a file that cannot be used to a name beside it that is free.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", random::hex().map_err(io::Error::other)?));
    let aside = PathBuf::from(aside);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The working directory of unit tests is the package's, which is the same for all of them.
    #[test]
    fn a_bare_name_is_replaced_in_the_working_directory() {
        let name = format!(".replaced-{}", random::hex().unwrap());
        let replaced = [b"one", b"two"].map(|content| replace(Path::new(&name), content));
        let content = std::fs::read(&name).unwrap();
        std::fs::remove_file(&name).unwrap();
        assert!(replaced.iter().all(Result::is_ok) && content == b"two", "{replaced:?}");
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        replace(&path("file"), b"whole").unwrap();
        std::fs::write(path(".etcd-local-tmp-a1b2c3"), "hal").unwrap();
        std::fs::create_dir(path(".etcd-local-tmp-mine")).unwrap();
        std::fs::write(path(".tmp-a1b2c3"), "theirs").unwrap();
        remove_scratch(dir.path());
        assert!(["file", ".etcd-local-tmp-mine", ".tmp-a1b2c3"].iter().all(|name| path(name).exists()));
        assert!(!path(".etcd-local-tmp-a1b2c3").exists());
    }
}
