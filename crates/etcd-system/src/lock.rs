//! Waiting for a lock and holding it. What a lock is (an open file) and whether it is held is `etcd_workspace`'s.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use etcd_workspace::is_held;
use etcd_workspace::{NotYours, open_exclusive};

use crate::wait::{Deadline, until};

/// A lock that this process holds; dropped, it is free.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// `None`: another process holds it.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Ok(open_exclusive(path)?.map(Self))
    }

    /// Waits until no other process holds the lock; `on_wait` is called once if there is one.
    ///
    /// # Errors
    /// [`LockError::Held`] after `timeout`.
    pub fn acquire(path: &Path, timeout: Duration, on_wait: impl FnOnce()) -> Result<Self, LockError> {
        let mut on_wait = Some(on_wait);
        let attempt = || match Self::try_acquire(path) {
            Ok(Some(lock)) => Ok(Some(lock)),
            Ok(None) => {
                if let Some(tell) = on_wait.take() {
                    tell();
                }
                Ok(None)
            }
            Err(error) => Err(LockError::Io { path: path.to_owned(), source: NotYours::explain(error, path) }),
        };
        until(Deadline::after(timeout), attempt)?
            .ok_or_else(|| LockError::Held { path: path.to_owned(), waited: timeout })
    }

    /// Open files that can be closed when others are needed and the process may open no more. The lock is free once
    /// they are closed, too.
    pub fn reserve(&self, files: usize) -> io::Result<Vec<File>> {
        (0..files).map(|_| self.0.try_clone()).collect()
    }

    /// The open file, for a child to inherit: it then holds the lock, and so do we until we close ours.
    pub fn into_file(self) -> File {
        self.0
    }
}

/// Why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process held it until the timeout.
    #[error("another process has held `{}` for {} s", path.display(), waited.as_secs())]
    Held {
        /// The lock.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be opened.
    #[error("cannot open the lock `{}`", path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_until_it_is_free_or_the_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::try_acquire(&path).unwrap().unwrap();
        let error = Lock::acquire(&path, Duration::ZERO, || ()).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        let mut held = Some(lock);
        Lock::acquire(&path, Duration::from_secs(30), || drop(held.take().expect("told once"))).unwrap();
        assert!(held.is_none());
    }
}
