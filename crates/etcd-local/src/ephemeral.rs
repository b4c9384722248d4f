//! Ephemeral instances: a server and a temporary directory that go with their owner, whether it drops them,
//! panics, or is killed. Nothing here is meant to survive anything.

mod directory;
mod janitor;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::ClusterId;
use semver::Version;

use self::directory::{LEVELS, MEMBER_LOCK, make_dir, sweep};
use self::janitor::Janitor;
use crate::binary::FindError;
use crate::builder::Builder;
use crate::data::{DataDir, DataError};
use crate::file::{PathError, cannot};
use crate::lock::Lock;
use crate::os::Lifetime;
use crate::server::launch::{self, Durability, Launch, LaunchError, Launched, Ready};
use crate::server::log;
use crate::server::ports::Ports;

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
