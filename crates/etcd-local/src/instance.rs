//! Persistent instances: a named etcd of a workspace whose data outlives its process. Here: its places and
//! its description. Starting, stopping and observing live in the submodules.

mod arguments;
mod differences;
mod lead;
mod member_error;
mod members;
mod observe;
mod one_member;
mod operations;
mod ports;
mod record;
mod recover;
mod replace;
mod spawn;
mod spawn_members;
mod start;
mod start_members;
mod stop;
mod upgrade;
mod users;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use etcd_workspace::{ClientConfig, ClientConfigError, ClusterId, NotYours, RECORD, Record};
use semver::Version;
use serde::{Deserialize, Serialize};

pub use self::differences::Difference;
pub use self::member_error::MemberError;
pub use self::observe::ObserveError;
pub use self::start::{Foreground, StartError, Up};
pub use self::stop::{Down, Reset, ResetError, StopError};

use crate::builder::Builder;
use crate::data::DataDir;
use crate::env::Env;
use crate::file::{PathError, cannot};
use crate::os;
use crate::server::ports::Address;

/// The directory in which the instances of a workspace live: `.etcd`, or what `ETCD_LOCAL_STATE` says.
#[must_use]
pub fn home(workspace: &Path, env: &Env) -> PathBuf {
    etcd_workspace::home(workspace, env.var_os(etcd_workspace::STATE))
}

/// Creates that directory, if it is not there: for this user only, and for git not to see.
///
/// # Errors
/// If the system refuses, or it is another user's: root is refused, too.
pub fn create_home(workspace: &Path, env: &Env) -> Result<PathBuf, PathError> {
    let home = home(workspace, env);
    NotYours::check(&home).map_err(cannot("write to", &home))?;
    os::create_private_dir(&home).map_err(cannot("create", &home))?;
    let ignore = home.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").map_err(cannot("write", &ignore))?;
    }
    Ok(home)
}

/// A directory for what is kept for a while, where that one cannot be written: this user's own, among temporary files.
/// The locks of runs without a workspace are there, too.
///
/// # Errors
/// If the system refuses, or it is another user's.
pub fn create_temporary_home(env: &Env) -> Result<PathBuf, PathError> {
    let own = etcd_workspace::User::of_process().map(|user| format!("etcd-sandbox-{}", user.number()));
    let dir = env.temp_dir().join(own.as_deref().unwrap_or("etcd-sandbox"));
    os::create_private_dir(&dir).and_then(|()| NotYours::check(&dir)).map_err(cannot("create", &dir))?;
    Ok(dir)
}

/// An instance's name is a directory's name on every system, nothing that needs quoting, and nothing that the commands
/// keep beside the instances.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    const RESERVED: [&str; 5] = ["con", "prn", "aux", "nul", "conin$"]; // Windows' devices
    const OURS: [&str; 2] = ["undo", "last-failure.log"];
    let stem = name.split('.').next().unwrap_or(name); // which also counts with anything after a dot
    let is_taken = OURS.contains(&name)
        || RESERVED.contains(&stem)
        || ["com", "lpt"].iter().any(|device| stem.strip_prefix(device).is_some_and(|n| n.len() == 1 && n != "0"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= 40 && name.chars().all(plain) && !name.ends_with('.') && !is_taken {
        Ok(())
    } else {
        Err(NameError(name.to_owned()))
    }
}

/// A name that no instance can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an instance name: at most 40 of a-z, 0-9, `-`, `_` and `.`, a letter or digit first; `undo` and a \
     few other names are reserved"
)]
pub struct NameError(String);

/// A persistent etcd of a workspace, running or not.
#[derive(Clone)]
pub struct Instance {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) builder: Builder,
    /// All members that vote of the cluster that this is a member of, and this one; empty for an instance of one member.
    cluster: Vec<Address>,
}

impl Builder {
    /// The persistent instance of this name. Nothing is started or created yet.
    ///
    /// # Errors
    /// If the name is none.
    pub fn instance(&self, name: &str) -> Result<Instance, NameError> {
        check_name(name)?;
        let builder = Self { settings: self.settings.of_instance(name), ..self.clone() };
        Ok(Instance {
            dir: home(&self.workspace, &self.env).join(name),
            name: name.to_owned(),
            builder,
            cluster: Vec::new(),
        })
    }

    /// All instances that this workspace has ever started, by name.
    ///
    /// # Errors
    /// If the directory that they are in cannot be read.
    pub fn instances(&self) -> Result<Vec<Instance>, PathError> {
        let home = home(&self.workspace, &self.env);
        let entries = match std::fs::read_dir(&home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(cannot("list", &home))?,
        };
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let named = |name: String| self.instance(&name).ok();
        let mut instances: Vec<_> = names.filter_map(named).filter(Instance::was_started).collect();
        instances.extend(
            etcd_workspace::orphaned(&home)
                .iter()
                .filter_map(|dir| dir.file_name()?.to_str().map(str::to_owned))
                .filter_map(named),
        );
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        instances.dedup_by(|a, b| a.name == b.name);
        Ok(instances)
    }
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
        self.dir.join(RECORD)
    }

    /// The names of its members, and where they answered in plain HTTP last, also if clients speak TLS: `/health` and
    /// `/metrics`. Empty if its record cannot be read.
    #[must_use]
    pub fn plain_urls(&self) -> Vec<(String, String)> {
        let Ok(Some(record)) = Record::read(&self.record_path()) else { return Vec::new() };
        if record.members.is_empty() {
            let url = record.metrics_url.or_else(|| record.endpoints.into_iter().next());
            return url.map(|url| (record.member, url)).into_iter().collect();
        }
        let members = record.members.into_iter();
        members.map(|member| (member.name, member.metrics_url.unwrap_or(member.endpoint))).collect()
    }

    /// The directory of its users' passwords, one file each, if it has users.
    #[must_use]
    pub fn passwords(&self) -> PathBuf {
        // Users are the cluster's, not a member's.
        let dir = if self.cluster.is_empty() { Some(self.dir.as_path()) } else { self.dir.parent() };
        dir.unwrap_or(&self.dir).join("passwords")
    }

    fn password_file(&self) -> PathBuf {
        self.passwords().join(ClientConfig::ROOT)
    }

    /// Admits one change at a time.
    fn operation_lock(&self) -> PathBuf {
        etcd_workspace::operation_lock(&self.dir)
    }

    /// Held by the server itself, as long as it lives.
    fn member_lock(&self) -> PathBuf {
        etcd_workspace::member_lock(&self.dir)
    }

    /// Whether a command has ever been about to start it: then it has what leads to its server. What may not be looked at
    /// may be there.
    pub(crate) fn was_started(&self) -> bool {
        let is_hidden = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let may_exist = |path: PathBuf| path.try_exists().unwrap_or_else(is_hidden);
        may_exist(self.operation_lock()) || may_exist(self.record_path())
    }

    fn data_dir(&self) -> PathBuf {
        self.builder.settings.data_dir.clone().unwrap_or_else(|| self.own_data_dir())
    }

    /// Where the next start has its data: where a setting says, else where this instance had some last. The record of one
    /// whose start in another directory failed does not lead there.
    fn next_data_dir(&self, record: Option<&Record>) -> PathBuf {
        let was_used = |dir: &PathBuf| DataDir::find(dir).ok().flatten().is_some_and(|data| data.was_used());
        let last = || record.map(|record| record.data_dir.clone()).filter(was_used);
        self.builder.settings.data_dir.clone().or_else(last).unwrap_or_else(|| self.own_data_dir())
    }

    fn own_data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }
}

/// Whether an instance serves. Shown in words that follow its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its member answers.
    Ready,
    /// A server lives and does not answer (yet).
    Starting,
    /// Some members run, but not most of them: without a majority etcd takes no write.
    NoQuorum,
    /// A server lives, by its lock, and no process that can be seen from here is it: it runs in another container or PID
    /// namespace, or as another user. It may answer all the same.
    Hidden,
    /// A server lives, and its lock file was deleted, as by `git clean -fdx`, so that it can only be stopped.
    Orphaned,
    /// No server.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "is ready",
            Self::Starting => "runs, but does not answer yet",
            Self::NoQuorum => "has no quorum: most of its members are not running",
            Self::Hidden => "runs, but is not visible from here",
            Self::Orphaned => "runs, but its lock file was deleted",
            Self::Stopped => "is not running",
        })
    }
}

/// An instance as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The instance's name.
    pub instance: String,
    /// Whether it serves.
    pub state: State,
    /// Whether its member answers, whatever else is true of it.
    pub answers: bool,
    /// Client URLs, none of a learner; while it is stopped, those it had last.
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
    /// If clients speak TLS, the directory with the CA's and their own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PathBuf>,
    /// If the servers speak TLS among each other, the directory with the CA's and their own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_tls: Option<PathBuf>,
    /// If authentication is on, the file with the password of the user `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// If anybody speaks TLS, where the only member tells in plain HTTP how it is, and no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The cluster's id.
    pub cluster_id: Option<ClusterId>,
    /// Milliseconds from spawn to proven ready, at the last start.
    pub ready_ms: Option<u64>,
    /// The members, if there are several. Then `endpoints` are those of all members that vote, `pids` those of all members, and
    /// `log` is the first member's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
}

impl Status {
    /// How clients reach it; while it is stopped, how they did last.
    ///
    /// # Errors
    /// If the file with the password cannot be read.
    pub fn client_config(&self) -> Result<ClientConfig, ClientConfigError> {
        ClientConfig::of_instance(self.endpoints.clone(), self.tls.as_deref(), self.password_file.as_deref())
    }
}

/// One of several members of an instance, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The member's name.
    pub name: String,
    /// Whether it is a learner, which gets all keys, does not vote, and refuses most requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learner: bool,
    /// Whether it serves.
    pub state: State,
    /// Its client URL; empty while it is unknown.
    pub endpoint: String,
    /// If anybody speaks TLS, where it tells in plain HTTP how it is, and no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_directory_names() {
        for good in ["default", "a", "ci-3.5", "0", "x_y", "console.1", "x.con"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "-x",
            "A",
            "nul",
            "nul.txt",
            "con.1",
            "com1",
            "lpt9.x.y",
            "a b",
            "ü",
            "x.",
            "undo",
            "last-failure.log",
            &"x".repeat(41),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
