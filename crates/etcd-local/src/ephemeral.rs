//! Ephemeral instances: a server and a temporary directory that go with their owner, whether it drops them,
//! panics, or is killed. Nothing here is meant to survive anything.

mod janitor;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::{ClusterId, NotYours};
use semver::Version;

use self::janitor::Janitor;
use crate::binary::FindError;
use crate::builder::Builder;
use crate::data::{DataDir, DataError};
use crate::file::{PathError, cannot};
use crate::lock::{self, Lock};
use crate::os::Lifetime;
use crate::server::launch::{self, Durability, Launch, LaunchError, Launched, Ready};
use crate::server::log;
use crate::server::ports::Ports;
use crate::wait::{Deadline, until};

/// Our directories among the temporary ones.
const PREFIX: &str = "etcd-ephemeral-";
/// In each of them: held by the owner as long as it lives.
const OWNER_LOCK: &str = "owner.lock";
/// Its name until it is locked.
const DRAFT_LOCK: &str = ".owner.lock";
/// How long sweepers may come in between, at most: each takes some file system calls.
const SWEEPERS: Duration = Duration::from_secs(5);
/// In each of them: held by the server as long as it lives.
const MEMBER_LOCK: &str = "member.lock";
/// How deep they are: the directory, `data`, etcd's `member`, and `snap` or `wal`.
const LEVELS: usize = 4;

/// A running etcd on free loopback ports, without fsync, whose data goes with it. Dropped, it is gone; if
/// its owner is killed the system ends the server, and the directory goes at once (Unix) or at the next
/// start of an ephemeral instance (Windows).
pub struct Ephemeral {
    // Dropped in this order: server, lock (Windows deletes no open file), directory, janitor.
    launched: Launched,
    _owner: Lock,
    dir: tempfile::TempDir,
    _janitor: Janitor,
    ports: Ports,
    binary: PathBuf,
    ready: Ready,
}

/// Why no ephemeral server is ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EphemeralError {
    /// No binary.
    #[error(transparent)]
    Binary(#[from] FindError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The launch failed.
    #[error(transparent)]
    Launch(#[from] FailedLaunch),
    /// The temporary directory cannot be set up.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A launch that failed, with the end of a log that is gone by now.
#[derive(Debug)]
pub struct FailedLaunch {
    /// Why. A path in it to the log leads nowhere.
    pub error: LaunchError,
    /// The last lines of the server's log, each shortened; empty if it had said nothing.
    pub log: Box<str>,
}

impl FailedLaunch {
    fn reading(log: &Path) -> impl Fn(LaunchError) -> Self + '_ {
        const LINES: usize = 20;
        |error| Self { error, log: log::last_lines(log, LINES).into() }
    }
}

impl fmt::Display for FailedLaunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if !self.log.is_empty() {
            f.write_str("; its log ended with")?;
        }
        self.log.lines().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Error for FailedLaunch {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Builder {
    /// Starts an etcd that goes with its owner: see [`Ephemeral`].
    ///
    /// # Errors
    /// If no server becomes ready.
    pub fn start_ephemeral(&self) -> Result<Ephemeral, EphemeralError> {
        Ephemeral::start(self)
    }
}

impl Ephemeral {
    pub(crate) fn start(builder: &Builder) -> Result<Self, EphemeralError> {
        const ATTEMPTS: usize = 5;
        let temp = builder.env.temp_dir();
        sweep(temp);
        let binary = builder.binaries().find(&builder.settings.wanted)?;
        builder.report_exposure();
        let (dir, owner) = make_dir(temp)?;
        // What a start fails with may be that no file can be opened; deleting opens one a level.
        let _reserve = owner.reserve(LEVELS).map_err(cannot("hold files in reserve for", dir.path()))?;
        let mut janitor = Janitor::start(dir.path()).map_err(cannot("start the janitor of", dir.path()))?;
        let mut data = DataDir::find_or_create(&dir.path().join("data"), dir.path())?;
        let log = dir.path().join("etcd.log");
        let failed = FailedLaunch::reading(&log);
        let member_lock = dir.path().join(MEMBER_LOCK);
        let mut attempt = 1;
        loop {
            let (client, peer) = launch::free_ports(builder.settings.host).map_err(&failed)?;
            let ports = Ports { host: builder.settings.host, client, peer };
            data.claim(&ports.peer_url(), &binary.version)?;
            let lock = Lock::try_acquire(&member_lock)
                .and_then(|lock| lock.ok_or_else(|| io::ErrorKind::ResourceBusy.into()))
                .map_err(cannot("lock", &member_lock))?;
            let launch = Launch {
                binary: &binary,
                member: "ephemeral",
                ports,
                data: &data,
                durability: Durability::Unsynced,
                lifetime: Lifetime::Ours,
                asks_for_election: true,
                extra_args: &builder.extra_args,
                log: &log,
                env: &builder.env,
            };
            let mut launched = launch.spawn(lock).map_err(&failed)?;
            janitor.look_after(launched.child.running.identity.pid);
            match launched.wait_ready(builder.start_timeout) {
                Ok(ready) => {
                    let binary = binary.path;
                    return Ok(Self { launched, dir, _owner: owner, _janitor: janitor, ports, binary, ready });
                }
                // Somebody took the port between our look and etcd's bind.
                Err(LaunchError::PortTaken { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(failed(error).into()),
            }
        }
    }

    /// Client URLs.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        vec![self.ports.client_url()]
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.ready.cluster_id
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.ready.version
    }

    /// The server's program.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.launched.child.running.identity.pid
    }

    /// From spawn to proven ready.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready.took
    }

    /// The temporary directory: `data`, and the server's log as `etcd.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("etcd.log")
    }

    /// Whether the server still lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.launched.child.running.has_ended()
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        // Nothing is to be saved, so nothing is asked.
        let _ = self.launched.child.running.kill();
    }
}

/// A directory that we hold. One that a sweeper took before we held it is replaced by another.
fn make_dir(temp: &Path) -> Result<(tempfile::TempDir, Lock), PathError> {
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
pub(crate) fn sweep(temp: &Path) {
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
    let ours = metadata.is_dir() && NotYours::find(dir).is_none() && owner.is_file();
    Ok(ours && !lock::is_held(&owner)? && !lock::is_held(&dir.join(MEMBER_LOCK))?)
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
