//! A run's lock: an open file that every process of the run shares, and that the system closes when the last process
//! ends. If the lock is free, no process of the run is left. The file names the run, but is only a hint where to look.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run_id::RunId;
use crate::runs::record::Record;

/// The largest lock file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// How the name of a lock file begins until the lock is held.
const SCRATCH: &str = ".new-";
/// How often a cleaner may interrupt the making of a lock.
const ATTEMPTS: u32 = 100;

/// What a lock file holds: the run, and where its record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    pub(crate) run: String,
    pub(crate) endpoints: String,
    pub(crate) test_root: String,
}

/// A run's lock, held together with other processes.
#[derive(Debug)]
pub(crate) struct Shared {
    _file: File,
    path: PathBuf,
}

/// A run's lock, held exclusively: no process of the run is left, and no process can join.
#[derive(Debug)]
pub(crate) struct Alone {
    file: File,
    path: PathBuf,
    whose: Whose,
}

/// The result of trying to get a lock exclusively.
#[derive(Debug)]
pub(crate) enum Tried {
    /// No process of the run is left.
    Free(Alone),
    /// A process of the run has it.
    Held,
    /// There is no such lock here. That proves nothing.
    Unknown,
}

/// The result of joining the holders of a lock.
#[derive(Debug)]
pub(crate) enum Joined {
    /// This process holds the lock, too.
    Held(Shared),
    /// A sweeper has it.
    Swept,
    /// There is no such lock here.
    NoLock,
}

/// The lock's path: 128 random bits in its name say that it is this run's and no other's.
fn path_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}.lock"))
}

impl Shared {
    /// Makes a new run's lock in a directory of this user. The file gets its name only when the lock is held.
    pub(crate) fn create(dir: &Path, run: &RunId, endpoints: &str, test_root: &str) -> io::Result<Self> {
        create_private_dir(dir)?;
        let whose = Whose { run: run.to_string(), endpoints: endpoints.to_owned(), test_root: test_root.to_owned() };
        let (text, path) = (serde_json::to_vec(&whose)?, path_of(dir, run));
        let make = || {
            let mut scratch = tempfile::Builder::new().prefix(SCRATCH).tempfile_in(dir)?;
            scratch.write_all(&text)?;
            scratch.as_file().lock_shared().map_err(etcd_workspace::lock_error)?;
            scratch.persist_noclobber(&path).map_err(|failed| failed.error)
        };
        let mut made = make();
        // On Windows nothing can be done to the file while a cleaner looks at it.
        for _ in 1..ATTEMPTS {
            if made.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
            made = make();
        }
        Ok(Self { _file: made?, path })
    }

    /// Joins the holders of the lock that a record names, if the lock is that run's. The path may be anything.
    pub(crate) fn join(path: &Path, run: &RunId) -> Joined {
        let Some(file) = open_named_for(path, run) else { return Joined::NoLock };
        match file.try_lock_shared() {
            Ok(()) if whose(&file, run).is_some() => Joined::Held(Self { _file: file, path: path.to_owned() }),
            Err(TryLockError::WouldBlock) => Joined::Swept,
            Ok(()) | Err(TryLockError::Error(_)) => Joined::NoLock,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Alone {
    /// Tries to get the lock that a record names. Anybody may have written the path into etcd: only a plain file of the
    /// right name is locked, and only a file with the right content stays locked or is removed.
    pub(crate) fn attempt(path: &Path, run: &RunId) -> Tried {
        let Some(file) = open_named_for(path, run) else { return Tried::Unknown };
        match file.try_lock() {
            Ok(()) => match whose(&file, run) {
                Some(whose) => Tried::Free(Self { file, path: path.to_owned(), whose }),
                None => Tried::Unknown,
            },
            Err(TryLockError::WouldBlock) => Tried::Held,
            // A file system without locks, or one that grants them only to writers.
            Err(TryLockError::Error(_)) => Tried::Unknown,
        }
    }

    /// Whether this is the lock that the run's processes have. A copy of the workspace has a copy of the lock file, which
    /// nobody holds.
    pub(crate) fn is_of(&self, record: &Record) -> bool {
        let same = |one: &Path, other: &Path| one.canonicalize().ok().zip(other.canonicalize().ok());
        same(&record.lock, &self.path).is_some_and(|(one, other)| one == other)
    }

    /// Removes the file of a run that is gone.
    pub(crate) fn remove(self) {
        // If this fails, the next sweep tries again.
        drop(fs::remove_file(&self.path));
        drop(self.file);
    }
}

/// Opens a file that has the name of this run's lock; `None` for anything else.
fn open_named_for(path: &Path, run: &RunId) -> Option<File> {
    let is_named_so = path.is_absolute() && path.parent().is_some_and(|dir| path_of(dir, run) == path);
    // Checked before it is opened: opening a pipe would wait for its other end.
    if !is_named_so || !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    OpenOptions::new().read(true).open(path).ok()
}

/// What a lock file holds, if it is this run's. Only the holder reads it: on Windows nobody else can.
fn whose(file: &File, run: &RunId) -> Option<Whose> {
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    let whose: Whose = serde_json::from_slice(&text).ok()?;
    (whose.run == run.as_str()).then_some(whose)
}

/// The free locks in a directory, the newest run first. Each is held only while the caller looks at it.
pub(crate) fn free_in(dir: &Path) -> impl Iterator<Item = (RunId, Whose, Alone)> {
    let mut runs = Vec::new();
    for name in
        fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
    {
        match name.strip_suffix(".lock").and_then(|id| id.parse::<RunId>().ok()) {
            Some(run) => runs.push(run),
            None if name.starts_with(SCRATCH) => remove_if_free(&dir.join(name)),
            None => {}
        }
    }
    runs.sort_by(|one, other| other.cmp(one));
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    runs.into_iter().filter_map(move |run| {
        let path = path_of(&dir, &run);
        match Alone::attempt(&path, &run) {
            Tried::Free(alone) => Some((run, alone.whose.clone(), alone)),
            Tried::Held | Tried::Unknown => None,
        }
    })
}

/// Removes what a process left that was killed while it made a lock. If that process is alive, it makes another.
fn remove_if_free(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
        && let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        drop(fs::remove_file(path));
    }
}

/// In another user's directory that user could remove the locks.
fn create_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)?;
    #[cfg(unix)]
    if !is_ours(&fs::metadata(dir)?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the directory belongs to another user"));
    }
    Ok(())
}

#[cfg(unix)]
fn is_ours(dir: &fs::Metadata) -> bool {
    let us = rustix::process::geteuid();
    us.is_root() || std::os::unix::fs::MetadataExt::uid(dir) == us.as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_when_its_last_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let first = create(dir.path(), &run);
        let path = first.path().to_owned();
        let Joined::Held(second) = Shared::join(&path, &run) else { panic!("not joined") };
        drop(first);
        assert!(matches!(Alone::attempt(&path, &run), Tried::Held) && free_in(dir.path()).next().is_none());
        drop(second);
        let Tried::Free(alone) = Alone::attempt(&path, &run) else { panic!("held") };
        assert!(matches!(Shared::join(&path, &run), Joined::Swept), "nobody joins a run that is being swept");
        alone.remove();
        assert!(!path.exists() && matches!(Alone::attempt(&path, &run), Tried::Unknown));
    }

    /// On Windows nobody but the holder can read a file that is locked exclusively.
    #[test]
    fn the_holder_of_a_lock_is_found_before_its_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let path = path_of(dir.path(), &run);
        fs::write(&path, "not to be read").unwrap();
        let holder = File::open(&path).unwrap();
        holder.lock().unwrap();
        assert!(matches!(Alone::attempt(&path, &run), Tried::Held));
        assert!(matches!(Shared::join(&path, &run), Joined::Swept));
        drop(holder);
        assert!(matches!(Alone::attempt(&path, &run), Tried::Unknown));
        assert!(matches!(Shared::join(&path, &run), Joined::NoLock));
        assert!(path.exists());
    }

    #[test]
    fn a_path_from_elsewhere_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let innocent = dir.path().join("innocent");
        fs::write(&innocent, "x").unwrap();
        let named = path_of(dir.path(), &run);
        fs::write(&named, "not ours").unwrap();
        let other = create(dir.path(), &RunId::fresh().unwrap());
        let link = path_of(&dir.path().join("links"), &run);
        fs::create_dir(dir.path().join("links")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(other.path(), &link).unwrap();
        let paths = [&innocent, &named, &link, other.path(), dir.path(), Path::new("x.lock"), Path::new("")];
        for path in paths.into_iter().chain([Path::new("/dev/null"), Path::new("/etc/passwd")]) {
            assert!(matches!(Alone::attempt(path, &run), Tried::Unknown), "{}", path.display());
            assert!(matches!(Shared::join(path, &run), Joined::NoLock), "{}", path.display());
        }
        assert!(named.exists() && innocent.exists());
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        let path = path_of(dir.path(), &run);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(Alone::attempt(&path, &run), Tried::Unknown));
        assert!(matches!(Shared::join(&path, &run), Joined::NoLock));
    }

    #[test]
    fn a_lock_is_made_while_a_cleaner_looks_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".new-left"), "by a process that was killed").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(free_in(dir.path()).count(), 0);
                }
            });
            let made: Vec<_> = (0..200).map(|_| create(dir.path(), &RunId::fresh().unwrap())).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            made
        });
        assert!(made.iter().all(|lock| lock.path().exists()));
        // On a busy machine the cleaner may not have had a turn.
        assert_eq!(free_in(dir.path()).count(), 0);
        assert!(!dir.path().join(".new-left").exists());
    }

    fn create(dir: &Path, run: &RunId) -> Shared {
        Shared::create(dir, run, "http://a:1", "/a/Test/").unwrap()
    }

    #[test]
    fn free_locks_are_found_with_their_runs() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::fresh().unwrap();
        drop(create(dir.path(), &run));
        let found: Vec<_> = free_in(dir.path()).collect();
        let [(id, whose, _)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((id, whose.endpoints.as_str(), whose.test_root.as_str()), (&run, "http://a:1", "/a/Test/"));
        assert_eq!(free_in(Path::new("/nonexistent")).count(), 0);
    }
}
