//! A run's lock: an open file that every process of the run shares, and that the system closes when the last
//! one ends. Who gets it alone knows that none is left. The file says whose it is; what it says is never more
//! than a hint where to look.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run_id::RunId;

/// The largest lock file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// What a lock file says: the run, and where its record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    pub(crate) run: String,
    pub(crate) endpoints: String,
}

/// A run's lock, held together with others.
#[derive(Debug)]
pub(crate) struct Shared {
    _file: File,
    path: PathBuf,
}

/// A run's lock, held alone: no process of the run lives, and none can join.
#[derive(Debug)]
pub(crate) struct Alone {
    file: File,
    path: PathBuf,
}

/// What trying to get a lock alone tells.
#[derive(Debug)]
pub(crate) enum Tried {
    /// Nobody of the run is left.
    Free(Alone),
    /// Somebody is.
    Held,
    /// There is no such lock here: it proves nothing.
    Unknown,
}

/// The lock's path: 128 random bits in its name say that it is this run's and no other's.
fn path_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}.lock"))
}

impl Shared {
    /// Makes a new run's lock. It appears under its name only once it is held.
    pub(crate) fn create(dir: &Path, run: &RunId, endpoints: &str) -> io::Result<Self> {
        create_private_dir(dir)?;
        let path = path_of(dir, run);
        let mut scratch = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        let whose = Whose { run: run.to_string(), endpoints: endpoints.to_owned() };
        scratch.write_all(&serde_json::to_vec(&whose)?)?;
        scratch.as_file().lock_shared()?;
        let file = scratch.persist_noclobber(&path).map_err(|error| error.error)?;
        Ok(Self { _file: file, path })
    }

    /// Joins those who hold the lock; `None`: a sweeper has it, or there is none.
    pub(crate) fn join(path: &Path) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { _file: file, path: path.to_owned() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Alone {
    /// Tries to get the lock that a record names. Its path may be anything that somebody wrote into etcd: only a
    /// plain file of the right name that says the right thing is ever locked, let alone removed.
    pub(crate) fn attempt(path: &Path, run: &RunId) -> Tried {
        if path.parent().is_none_or(|dir| path_of(dir, run) != path) || !path.is_absolute() {
            return Tried::Unknown;
        }
        match Self::open(path) {
            Some((_, whose)) if whose.run != run.as_str() => Tried::Unknown,
            Some((file, _)) => match file.try_lock() {
                Ok(()) => Tried::Free(Self { file, path: path.to_owned() }),
                Err(TryLockError::WouldBlock) => Tried::Held,
                Err(TryLockError::Error(_)) => Tried::Unknown,
            },
            None => Tried::Unknown,
        }
    }

    fn open(path: &Path) -> Option<(File, Whose)> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        if !fs::symlink_metadata(path).ok()?.is_file() {
            return None;
        }
        let file = OpenOptions::new().read(true).open(path).ok()?;
        let mut text = Vec::new();
        (&file).take(LARGEST).read_to_end(&mut text).ok()?;
        Some((file, serde_json::from_slice(&text).ok()?))
    }

    /// Removes the file: the run is no more.
    pub(crate) fn remove(self) {
        // If it cannot be removed, the next one who looks for dead runs tries again.
        drop(fs::remove_file(&self.path));
        drop(self.file);
    }
}

/// The locks in a directory that nobody holds.
pub(crate) fn free_in(dir: &Path) -> Vec<(RunId, Whose, Alone)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let free = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let run: RunId = path.file_name()?.to_str()?.strip_suffix(".lock")?.parse().ok()?;
        let (_, whose) = Alone::open(&path)?;
        match Alone::attempt(&path, &run) {
            Tried::Free(alone) => Some((run, whose, alone)),
            Tried::Held | Tried::Unknown => None,
        }
    });
    free.collect()
}

fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_free_when_its_last_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let first = Shared::create(dir.path(), &run, "a").unwrap();
        let path = first.path().to_owned();
        let second = Shared::join(&path).unwrap().unwrap();
        drop(first);
        assert!(matches!(Alone::attempt(&path, &run), Tried::Held) && free_in(dir.path()).is_empty());
        drop(second);
        let Tried::Free(alone) = Alone::attempt(&path, &run) else { panic!("held") };
        assert!(Shared::join(&path).unwrap().is_none(), "nobody joins a run that is being swept");
        alone.remove();
        assert!(!path.exists() && matches!(Alone::attempt(&path, &run), Tried::Unknown));
    }

    #[test]
    fn a_path_from_elsewhere_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let innocent = dir.path().join("innocent");
        fs::write(&innocent, "x").unwrap();
        let named = path_of(dir.path(), &run);
        fs::write(&named, "not ours").unwrap();
        let other = Shared::create(dir.path(), &RunId::fresh().unwrap(), "a").unwrap();
        for path in [&innocent, &named, other.path(), Path::new("/dev/null"), Path::new("x.lock"), Path::new("")] {
            assert!(matches!(Alone::attempt(path, &run), Tried::Unknown), "{}", path.display());
        }
        assert!(named.exists() && innocent.exists());
    }

    #[test]
    fn free_locks_are_found_with_whose_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        drop(Shared::create(dir.path(), &run, "http://a:1").unwrap());
        let found = free_in(dir.path());
        let [(id, whose, _)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((id, whose.endpoints.as_str()), (&run, "http://a:1"));
        assert!(free_in(Path::new("/nonexistent")).is_empty());
    }
}
