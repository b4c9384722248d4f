//! The temporary directory of an ephemeral etcd: made, held by its owner, and swept when the owner was killed. Starts and
//! stops nothing.

use std::io;
use std::path::Path;
use std::time::Duration;

use etcd_workspace::NotYours;

use crate::file::{PathError, cannot};
use crate::lock::{self, Lock};
use crate::wait::{Deadline, until};

/// Our directories among the temporary ones.
const PREFIX: &str = "etcd-ephemeral-";
/// In each of them: held by the owner as long as it lives.
const OWNER_LOCK: &str = "owner.lock";
/// Its name until it is locked.
const DRAFT_LOCK: &str = ".owner.lock";
/// How long sweepers may come in between, at most: each takes some file system calls.
const SWEEPERS: Duration = Duration::from_secs(5);
/// In the directory of each member: held by the server as long as it lives.
pub(super) const MEMBER_LOCK: &str = "member.lock";
/// How deep they are: the directory, the member's, `data`, etcd's `member`, and `snap` or `wal`.
pub(super) const LEVELS: usize = 5;

/// A directory that we hold. One that a sweeper took before we held it is replaced by another.
pub(super) fn make_dir(temp: &Path) -> Result<(tempfile::TempDir, Lock), PathError> {
    let made = until(Deadline::after(SWEEPERS), || {
        let dir =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(temp).map_err(cannot("create a directory in", temp))?;
        match claim(dir.path()) {
            Ok(lock) => Ok(Some((dir, lock))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy) => Ok(None),
            Err(error) => Err(cannot("lock", dir.path())(error)),
        }
    })?;
    made.ok_or_else(|| {
        cannot("create a directory that others leave alone in", temp)(io::ErrorKind::ResourceBusy.into())
    })
}

/// Makes the directory recognisably ours, and held: the lock has its name only once it is locked, so that
/// no sweeper ever finds it free while its owner lives.
fn claim(dir: &Path) -> io::Result<Lock> {
    if cfg!(windows) {
        // Created and locked are one step here, and what is locked cannot be renamed.
        return Ok(Lock::try_acquire(&dir.join(OWNER_LOCK))?.ok_or(io::ErrorKind::ResourceBusy)?);
    }
    let (draft, path) = (dir.join(DRAFT_LOCK), dir.join(OWNER_LOCK));
    let lock = Lock::try_acquire(&draft)?.ok_or(io::ErrorKind::ResourceBusy)?;
    std::fs::rename(draft, path)?;
    Ok(lock)
}

/// Deletes the directories of owners that were killed. Failing is no harm: the next start tries again.
pub(super) fn sweep(temp: &Path) {
    let entries = std::fs::read_dir(temp).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let dir = entry.path();
        if is_orphan(&dir).unwrap_or(false) {
            let _ = delete(&dir);
        } else if is_unclaimed(&dir).unwrap_or(false) {
            // Nothing that comes into being meanwhile goes with it, and its owner, if there is one, makes another.
            let _ = std::fs::remove_file(dir.join(DRAFT_LOCK));
            let _ = std::fs::remove_dir(&dir);
        }
    }
}

/// What makes it ours goes last, so that an interrupted deletion is taken up by the next.
fn delete(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == OWNER_LOCK => {}
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_file(dir.join(OWNER_LOCK))?;
    std::fs::remove_dir(dir)
}

/// Whether its owner was killed before it could claim it, or is about to claim it.
fn is_unclaimed(dir: &Path) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(dir)?;
    let ours = metadata.is_dir() && NotYours::find(dir).is_none();
    Ok(ours && !dir.join(OWNER_LOCK).exists() && !lock::is_held(&dir.join(DRAFT_LOCK))?)
}

fn is_orphan(dir: &Path) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(dir)?;
    let owner = dir.join(OWNER_LOCK);
    if !metadata.is_dir() || NotYours::find(dir).is_some() || !owner.is_file() || lock::is_held(&owner)? {
        return Ok(false);
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && lock::is_held(&entry.path().join(MEMBER_LOCK))? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_deletion_that_is_cut_short_is_taken_up_again() {
        use std::os::unix::fs::PermissionsExt;

        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("etcd-ephemeral-stubborn");
        std::fs::create_dir_all(dir.join("data/member")).unwrap();
        std::fs::write(dir.join("data/member/db"), "").unwrap();
        drop(claim(&dir).unwrap());
        let mode = |mode| std::fs::set_permissions(dir.join("data/member"), PermissionsExt::from_mode(mode)).unwrap();
        mode(0o500);
        sweep(temp.path());
        // Root is stopped by nothing.
        assert!(!dir.exists() || dir.join(OWNER_LOCK).exists());
        if dir.exists() {
            mode(0o700);
            sweep(temp.path());
            assert!(!dir.exists());
        }
    }

    #[test]
    fn an_owner_whose_directory_is_swept_makes_another() {
        let temp = tempfile::tempdir().unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep(temp.path());
                }
            });
            let made: Vec<_> = (0..50).map(|_| make_dir(temp.path())).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for (dir, _lock) in made.into_iter().map(Result::unwrap) {
                assert!(dir.path().join(OWNER_LOCK).exists());
            }
        });
    }

    #[test]
    fn only_what_nobody_owns_is_swept() {
        let temp = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let dir = temp.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            dir
        };
        let (held, free) = (make("etcd-ephemeral-held"), make("etcd-ephemeral-free"));
        let (draft, other) = (make("etcd-ephemeral-draft"), make("other"));
        let owner = claim(&held).unwrap();
        drop(claim(&free).unwrap());
        let drafted = Lock::try_acquire(&draft.join(DRAFT_LOCK)).unwrap();
        let (killed, empty, full) =
            (make("etcd-ephemeral-killed"), make("etcd-ephemeral-empty"), make("etcd-ephemeral-full"));
        std::fs::write(killed.join(DRAFT_LOCK), "").unwrap();
        std::fs::write(full.join("precious"), "").unwrap();
        drop(claim(&other).unwrap());
        sweep(temp.path());
        assert!(held.exists() && draft.exists() && other.exists() && !free.exists());
        assert!(!killed.exists() && !empty.exists() && full.exists());
        drop((owner, drafted));
        sweep(temp.path());
        assert!(!held.exists() && !draft.exists());
    }
}
