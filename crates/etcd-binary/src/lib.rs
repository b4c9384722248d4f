//! Which etcd or protoc to run: find, fetch, verify and keep one. Synchronous, and it never prints: what happens goes to
//! a [`Reporter`]. Starts no server and knows no instance.

mod cache;
#[cfg(test)]
pub(crate) mod fakes;
mod install;
mod pins;
mod platform;
mod reporter;
mod search;
mod sha256;
mod version;
mod wanted;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use etcd_system::command::CommandError;
pub use etcd_system::env::Env;
use etcd_system::{command, env, file, lock, os};
use semver::Version;
use serde::{Deserialize, Serialize};

use self::cache::Cache;
use self::install::Timeouts;
use self::pins::Pinned;
use self::platform::Platform;

pub use self::cache::{CacheError, Damage, Installed};
pub use self::install::{ArchiveError, DownloadError, InstallError, SourceError, Tried};
pub use self::reporter::{Event, Reporter, Silent};
pub use self::search::{FindError, is_whole_protoc};
pub use self::sha256::{NotASha256, Sha256};
pub use self::version::{VersionError, version_of};
pub use self::wanted::{NotARoute, NotWanted, Route, Wanted};

/// How long another process may take to install what we want too: as long as its slowest helper.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A program that this library can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// The server.
    Etcd,
    /// The Protocol Buffers compiler, which builds of `etcd-client` need.
    Protoc,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Protoc => "protoc",
        })
    }
}

/// Where an installation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The Cargo registry, through whatever mirror or vendoring the user's Cargo is set up with.
    Registry,
    /// The etcd project's release archives, or a mirror of them.
    Release,
    /// `go build` of the etcd modules, where Go is installed.
    GoSource,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "the Cargo registry",
            Self::Release => "the release archive",
            Self::GoSource => "its Go source",
        })
    }
}

/// A program that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Its version; for protoc that of the crate it came in.
    pub version: Version,
    /// How it was found.
    pub origin: Origin,
}

/// How a binary was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller or `ETCDBINPATH` named it.
    Given,
    /// It was in our cache.
    Cache,
    /// It was in `$GOPATH/bin`.
    GoPath,
    /// It was on PATH.
    Path,
    /// It was installed just now.
    Installed(Source),
}

/// A version that can be installed here, because its sum is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What.
    pub tool: Tool,
    /// Which version of it.
    pub version: Version,
    /// From where.
    pub source: Source,
}

/// Finds and installs binaries for one user on this machine.
#[derive(Clone)]
pub struct Binaries {
    env: Env,
    workspace: PathBuf,
    reporter: Arc<dyn Reporter>,
    offline: bool,
    mirror: Option<String>,
    download_timeouts: Timeouts,
    lock_timeout: Duration,
}

impl Binaries {
    /// With Cargo's configuration as it applies in the directory `workspace`, a silent reporter, and the network allowed.
    #[must_use]
    pub fn new(env: Env, workspace: impl Into<PathBuf>) -> Self {
        Self {
            env,
            workspace: workspace.into(),
            reporter: Arc::new(Silent),
            offline: false,
            mirror: None,
            download_timeouts: Timeouts::default(),
            lock_timeout: LOCK_TIMEOUT,
        }
    }

    /// Who hears what happens.
    #[must_use]
    pub fn reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Whether to stay off the network: then only what Cargo has downloaded before can be installed.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// The URL of a mirror of etcd's release archives, laid out as upstream's; beats `ETCD_RELEASE_MIRROR`.
    #[must_use]
    pub fn mirror(mut self, url: impl Into<String>) -> Self {
        self.mirror = Some(url.into());
        self
    }

    /// The directory of the cache, which need not exist: `ETCD_LOCAL_CACHE`, else `etcd-local` in the user's cache
    /// directory.
    ///
    /// # Errors
    /// If no variable says where it should be.
    pub fn cache_dir(&self) -> Result<PathBuf, CacheError> {
        self.cache().map(|cache| cache.root().to_owned())
    }

    /// What the cache holds for this platform, lowest version first. Nothing of it is checked or run.
    ///
    /// # Errors
    /// If the cache cannot be read, or nothing is published for this platform.
    pub fn installed(&self) -> Result<Vec<Installed>, InstallError> {
        let (cache, platform) = (self.cache()?, self.platform()?);
        let mut found = cache.installed(Tool::Etcd, platform)?;
        found.extend(cache.installed(Tool::Protoc, platform)?);
        Ok(found)
    }

    /// The versions that can be installed here without giving a sum: by tool, then by source, lowest version first.
    #[must_use]
    pub fn known(&self) -> Vec<Known> {
        let Some(platform) = Platform::host() else { return Vec::new() };
        let sources = [(Tool::Etcd, Source::Registry), (Tool::Etcd, Source::Release), (Tool::Protoc, Source::Registry)];
        let known = sources.into_iter().flat_map(|(tool, source)| {
            let versions = Pinned::of(source, tool).map(|what| pins::versions(what, platform)).unwrap_or_default();
            versions.into_iter().map(move |version| Known { tool, version, source })
        });
        known.collect()
    }

    fn cache(&self) -> Result<Cache, CacheError> {
        Cache::locate(&self.env)
    }

    fn platform(&self) -> Result<Platform, InstallError> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Platform::host().ok_or(InstallError::NoPlatform { os, arch })
    }
}

impl fmt::Debug for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workspace, offline, mirror, .. } = self;
        let fields = (workspace, offline, mirror);
        f.debug_tuple("Binaries").field(&fields).finish()
    }
}
