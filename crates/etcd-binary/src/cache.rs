//! The cache: where installed programs are kept, and what of it counts. Only directories that carry a record, which
//! appear by one rename, count as installed. Nothing here installs.
//!
//! ```text
//! <cache>/etcd/3.7.2/linux-amd64/{etcd, etcdctl, install.json}   complete, or not there
//! <cache>/.locks/etcd-3.7.2-linux-amd64                          held while that one is installed
//! <cache>/.scratch/etcd-3.7.2-linux-amd64/                       what the holder of that lock is working on
//! ```

mod record;

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use crate::env::Env;
use crate::lock::{Lock, LockError};
use crate::os;
use crate::platform::Platform;
use crate::reporter::{Event, Reporter};
use crate::sha256::copy_hashed;
use crate::{Sha256, Tool};

pub use self::record::Installed;
pub(crate) use self::record::Record;

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// No variable names a directory for the cache.
    #[error("there is no directory for the cache: neither `ETCD_LOCAL_CACHE` nor a home directory is set")]
    NoCacheDir,
    /// A file or directory of it cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has been installing the same thing for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An installed file has changed since it was installed. It was not run.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
}

/// An installed file that is no longer what was installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` has changed since it was installed (SHA-256 is {found}, was {recorded}): install {tool} {version} again, or remove `{}`",
    path.display(), dir.display()
)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The directory that an installation of the same version replaces.
    pub dir: PathBuf,
    /// Whose file it is.
    pub tool: Tool,
    /// Of which version.
    pub version: Version,
    /// The sum it had.
    pub recorded: Sha256,
    /// The sum it has.
    pub found: Sha256,
}

impl CacheError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The cache of one user.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Where the environment puts it; the directory need not exist.
    pub(super) fn locate(env: &Env) -> Result<Self, CacheError> {
        if let Some(root) = env.path_var("ETCD_LOCAL_CACHE") {
            return Ok(Self { root });
        }
        let base = if cfg!(windows) {
            env.path_var("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            env.home().map(|home| home.join("Library").join("Caches"))
        } else {
            env.path_var("XDG_CACHE_HOME").or_else(|| env.home().map(|home| home.join(".cache")))
        };
        Ok(Self { root: base.ok_or(CacheError::NoCacheDir)?.join("etcd-local") })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The place of one version for one platform.
    pub(super) fn slot(&self, tool: Tool, version: &Version, platform: Platform) -> Slot {
        Slot { root: self.root.clone(), tool, version: version.clone(), platform: platform.name(tool) }
    }

    /// The installed versions for a platform, lowest first. A missing cache is empty. A version whose program was removed, for
    /// example by a virus scanner, does not count.
    pub(super) fn installed(&self, tool: Tool, platform: Platform) -> Result<Vec<Installed>, CacheError> {
        let dir = self.root.join(tool.to_string());
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CacheError::io("read", &dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(CacheError::io("read", &dir))?.file_name();
            let version = name.to_str().and_then(|name| Version::parse(name).ok());
            found.extend(version.and_then(|version| self.slot(tool, &version, platform).read()));
        }
        found.retain(|installed: &Installed| installed.path.exists());
        found.sort_by(|one, other| one.version.cmp(&other.version));
        Ok(found)
    }
}

/// The place of one version of one tool for one platform.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    root: PathBuf,
    pub(super) tool: Tool,
    pub(super) version: Version,
    platform: &'static str,
}

impl Slot {
    /// The directory that exists exactly when the version is installed.
    pub(super) fn dir(&self) -> PathBuf {
        self.root.join(self.tool.to_string()).join(self.version.to_string()).join(self.platform)
    }

    /// Where the holder of the lock works; on the same file system as [`Slot::dir`].
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join(".scratch").join(self.name())
    }

    fn name(&self) -> String {
        format!("{}-{}-{}", self.tool, self.version, self.platform)
    }

    /// What is installed here. A directory without a record that fits is not an installation.
    pub(super) fn read(&self) -> Option<Installed> {
        let dir = self.dir();
        let record = Record::read(&dir)?;
        record.into_installed(dir).filter(|installed| {
            installed.tool == self.tool && installed.version == self.version && installed.platform == self.platform
        })
    }

    /// Waits until no other process installs the same version. The lock file is never removed: otherwise two processes could
    /// lock two files with the same name.
    pub(super) fn lock(&self, reporter: &dyn Reporter, timeout: Duration) -> Result<Lock, CacheError> {
        let path = self.root.join(".locks").join(self.name());
        create_private_dir(&self.root.join(".locks"))?;
        let lock = Lock::acquire(&path, timeout, || reporter.report(&Event::Waiting { lock: path.clone() }))?;
        Ok(lock)
    }
}

/// Creates a directory and its parents, for this user only. One that exists is left as it is.
pub(super) fn create_private_dir(path: &Path) -> Result<(), CacheError> {
    os::create_private_dir(path).map_err(CacheError::io("create the directory", path))
}

/// Removes a directory with all that is in it; none there is fine.
pub(super) fn remove_dir(path: &Path) -> Result<(), CacheError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes what was created in a directory survive a power failure.
pub(super) fn sync_dir(path: &Path) -> Result<(), CacheError> {
    os::sync_dir(path).map_err(CacheError::io("write to disk", path))
}

/// What a new file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Program,
    Data,
}

/// Writes a new file to the end and to disk, and tells its size and the sum of what was written.
pub(super) fn write_new(from: &mut dyn Read, to: &Path, purpose: Purpose) -> Result<(u64, Sha256), CacheError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if purpose == Purpose::Program { 0o755 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = purpose; // Windows tells programs by their names.
    let mut file = options.open(to).map_err(CacheError::io("create", to))?;
    let written = copy_hashed(from, &mut file).and_then(|written| file.flush().map(|()| written));
    let written = written.map_err(CacheError::io("write", to))?;
    file.sync_all().map_err(CacheError::io("write to disk", to))?;
    Ok(written)
}

#[cfg(test)]
mod tests;
