//! Persistent instances: a named etcd of a workspace whose data outlives its process. Here: how one is set
//! up, its places and its description. Starting, stopping and observing live in the submodules.

mod observe;
mod start;
mod stop;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};

pub use self::observe::ObserveError;
pub use self::start::{Foreground, StartError, Up};
pub use self::stop::{Down, Reset, ResetError, StopError};

use crate::binary::{Binaries, Wanted};
use crate::cluster::ClusterId;
use crate::env::Env;
use crate::ephemeral::{Ephemeral, EphemeralError};
use crate::reporter::{Reporter, Silent};
use crate::settings::{Port, Settings, SettingsError, member_name};

/// Sets up local etcds; see the crate's documentation for an example.
#[derive(Clone)]
pub struct Builder {
    pub(crate) env: Env,
    pub(crate) workspace: PathBuf,
    pub(crate) settings: Settings,
    /// What a setter said, which a server that runs already must agree with.
    pub(crate) asked: Asked,
    pub(crate) patience: Duration,
    pub(crate) extra_args: Vec<String>,
    pub(crate) reporter: Arc<dyn Reporter>,
    offline: bool,
}

/// What was asked for plainly, not by a default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    port: Option<u16>,
    peer_port: Option<u16>,
    data_dir: Option<PathBuf>,
    version: Option<Wanted>,
}

impl Builder {
    /// A builder for the workspace at `workspace`, with the settings of its `Cargo.toml` and of `env`.
    ///
    /// # Errors
    /// If those settings cannot be read or used.
    pub fn new(env: Env, workspace: impl Into<PathBuf>) -> Result<Self, SettingsError> {
        let workspace = env.cwd().join(workspace.into());
        let settings = Settings::load(&workspace, &env)?;
        Ok(Self::with_settings(env, workspace, settings))
    }

    /// A builder that reads no manifest.
    #[must_use]
    pub fn with_settings(env: Env, workspace: impl Into<PathBuf>, settings: Settings) -> Self {
        let workspace = env.cwd().join(workspace.into());
        Self {
            env,
            workspace,
            settings,
            asked: Asked::default(),
            patience: Duration::from_secs(30),
            extra_args: Vec::new(),
            reporter: Arc::new(Silent),
            offline: false,
        }
    }

    /// The client port.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.asked.port = fixed(port);
        self.settings.port = port;
        self
    }

    /// The peer port.
    #[must_use]
    pub fn peer_port(mut self, port: Port) -> Self {
        self.asked.peer_port = fixed(port);
        self.settings.peer_port = Some(port);
        self
    }

    /// The data directory; a relative one is taken from the working directory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        let dir = self.env.cwd().join(dir.into());
        self.asked.data_dir = Some(dir.clone());
        self.settings.data_dir = Some(dir);
        self
    }

    /// Which etcd to run.
    #[must_use]
    pub fn etcd(mut self, wanted: Wanted) -> Self {
        self.asked.version = Some(wanted.clone());
        self.settings.wanted = wanted;
        self
    }

    /// How long a start may take, from spawn to proven ready; 30 s unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// One more flag for etcd, like `--quota-backend-bytes=16777216`; it beats one of ours.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.extra_args.push(arg.into());
        self
    }

    /// Never use the network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Who hears what happens.
    #[must_use]
    pub fn reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Another environment, with the settings as they are.
    #[must_use]
    pub fn environment(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The settings as they stand.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The binaries of this machine, as this builder sees them.
    #[must_use]
    pub fn binaries(&self) -> Binaries {
        Binaries::new(self.env.clone(), self.workspace.clone())
            .reporter(Arc::clone(&self.reporter))
            .offline(self.offline)
    }

    /// The persistent instance of this name. Nothing is started or created yet.
    ///
    /// # Errors
    /// If the name is none.
    pub fn instance(&self, name: &str) -> Result<Instance, NameError> {
        check_name(name)?;
        Ok(Instance { dir: home(&self.workspace).join(name), name: name.to_owned(), builder: self.clone() })
    }

    /// Starts an etcd that goes with its owner: see [`Ephemeral`].
    ///
    /// # Errors
    /// If no server becomes ready.
    pub fn start_ephemeral(&self) -> Result<Ephemeral, EphemeralError> {
        Ephemeral::start(self)
    }

    /// All instances that this workspace has ever started, by name.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let entries = std::fs::read_dir(home(&self.workspace)).into_iter().flatten().flatten();
        let names =
            entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok());
        let mut instances: Vec<_> = names.filter_map(|name| self.instance(&name).ok()).collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        instances
    }

    /// The member's name: as set, else the host's.
    pub(crate) fn member(&self) -> String {
        let host = || crate::os::host_name().or_else(|| self.env.var("COMPUTERNAME").map(str::to_owned));
        let host = || host().and_then(|name| member_name(&name).ok()).filter(|name| !name.is_empty());
        self.settings.member.clone().or_else(host).unwrap_or_else(|| "default".to_owned())
    }
}

fn fixed(port: Port) -> Option<u16> {
    match port {
        Port::Fixed(port) => Some(port),
        Port::Auto => None,
    }
}

/// The directory of a workspace in which its instances live.
#[must_use]
pub fn home(workspace: &Path) -> PathBuf {
    workspace.join(".etcd")
}

/// An instance's name is a directory's name on every system, and nothing that needs quoting.
fn check_name(name: &str) -> Result<(), NameError> {
    const RESERVED: [&str; 5] = ["con", "prn", "aux", "nul", "conin$"]; // Windows' devices
    let is_device = RESERVED.contains(&name)
        || ["com", "lpt"].iter().any(|device| name.strip_prefix(device).is_some_and(|n| n.len() == 1 && n != "0"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= 40 && name.chars().all(plain) && !name.ends_with('.') && !is_device {
        Ok(())
    } else {
        Err(NameError(name.to_owned()))
    }
}

/// A name that no instance can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instance name: at most 40 of a-z, 0-9, `-`, `_` and `.`, a letter or digit first")]
pub struct NameError(String);

/// A persistent etcd of a workspace, running or not.
#[derive(Clone)]
pub struct Instance {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) builder: Builder,
}

impl Instance {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory, `.etcd/<name>` of the workspace.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The server's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("etcd.log")
    }

    /// The record that others find the server by; see [`Record`](crate::Record).
    #[must_use]
    pub fn record_path(&self) -> PathBuf {
        self.dir.join("instance.json")
    }

    /// Admits one change at a time.
    fn operation_lock(&self) -> PathBuf {
        self.dir.join("op.lock")
    }

    /// Held by the server itself, as long as it lives.
    fn member_lock(&self) -> PathBuf {
        self.dir.join("member.lock")
    }

    fn data_dir(&self) -> PathBuf {
        self.builder.settings.data_dir.clone().unwrap_or_else(|| self.dir.join("data"))
    }
}

/// Whether an instance serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its member answers.
    Ready,
    /// A server lives and does not answer (yet).
    Starting,
    /// No server.
    Stopped,
}

/// An instance as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The instance's name.
    pub instance: String,
    /// Whether it serves.
    pub state: State,
    /// Client URLs; while it is stopped, those it had last.
    pub endpoints: Vec<String>,
    /// The server's processes.
    pub pids: Vec<u32>,
    /// The server's version.
    pub version: Option<Version>,
    /// The server's program.
    pub binary: Option<PathBuf>,
    /// etcd's data directory.
    pub data_dir: PathBuf,
    /// The server's log.
    pub log: PathBuf,
    /// The cluster's id.
    pub cluster_id: Option<ClusterId>,
    /// Milliseconds from spawn to proven ready, at the last start.
    pub ready_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_directory_names() {
        for good in ["default", "a", "ci-3.5", "0", "x_y"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "-x", "A", "nul", "com1", "a b", "ü", "x.", &"x".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
