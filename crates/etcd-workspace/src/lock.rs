//! File locks. A lock is held while a process has the file open in this way. It is free when the last such process has closed
//! the file or ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Locks `path`, which is created if it is missing. No other call can lock it until every copy of the handle is closed, also
/// inherited copies. `None` if it is already locked.
///
/// On Unix this is a lock of `flock(2)`'s kind, which belongs to the open file: a child that inherits it holds it as
/// long as it lives. Never unlock it explicitly: that would take it from the child. On Windows the file is opened
/// without sharing.
///
/// # Errors
/// If the file cannot be opened, or the file system has no such locks.
pub fn open_exclusive(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    match system::open(options, path, Share::Nothing) {
        // An existing file can be locked without write access.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let mut options = OpenOptions::new();
            options.read(true);
            system::open(options, path, Share::Nothing).map_err(|_| error)
        }
        opened => opened,
    }
}

/// Whether `path` is locked, by [`open_exclusive`] or by etcd. A missing file is not locked. Two calls at the same time do not
/// affect each other.
///
/// # Errors
/// If the file exists and cannot be opened, or the file system has no such locks.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.read(true);
    match system::open(options, path, Share::Reading) {
        Ok(free) => Ok(free.is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a lock fails with, by name: the system's words, "No locks available" or "Operation not supported", say too little.
#[must_use]
pub fn lock_error(error: io::Error) -> io::Error {
    /// ENOLCK of Linux and of macOS: no kind of std's.
    const NO_LOCKS: i32 = if cfg!(target_os = "macos") { 77 } else { 37 };
    if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_LOCKS) {
        return io::Error::new(io::ErrorKind::Unsupported, format!("this file system has no file locks: {error}"));
    }
    error
}

/// What others may do with a file that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Nothing,
    Reading,
}

#[cfg(unix)]
mod system {
    use std::fs::{File, OpenOptions, TryLockError};
    use std::io;
    use std::path::Path;

    use super::Share;

    pub(super) fn open(options: OpenOptions, path: &Path, share: Share) -> io::Result<Option<File>> {
        let file = options.open(path)?;
        let locked = match share {
            Share::Nothing => file.try_lock(),
            Share::Reading => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(super::lock_error(error)),
        }
    }
}

/// Locked ranges belong to one process there. Handles that share nothing are the lock that children inherit.
#[cfg(windows)]
mod system {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::fs::OpenOptionsExt as _;
    use std::path::Path;

    use super::Share;

    /// `FILE_SHARE_READ`.
    const SHARE_READ: u32 = 1;
    /// `ERROR_SHARING_VIOLATION`.
    const SHARING_VIOLATION: i32 = 32;

    pub(super) fn open(mut options: OpenOptions, path: &Path, share: Share) -> io::Result<Option<File>> {
        match options.share_mode(if share == Share::Reading { SHARE_READ } else { 0 }).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_is_free_after_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_held(&path).unwrap());
        let lock = open_exclusive(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(open_exclusive(&path).unwrap().is_none());
        drop(lock);
        assert!(!is_held(&path).unwrap());
    }

    #[test]
    fn those_who_look_do_not_see_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(open_exclusive(&path).unwrap());
        let mut options = OpenOptions::new();
        options.read(true);
        let looking = system::open(options, &path, Share::Reading).unwrap();
        assert!(looking.is_some() && !is_held(&path).unwrap());
    }
}
