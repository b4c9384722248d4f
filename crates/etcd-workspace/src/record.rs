//! `instance.json`: what is known of an instance, for us and for anyone who wants to find the server. A hint: the lock
//! says whether a server lives.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::client_config::{ClientConfig, ClientConfigError};
use crate::error::InstanceError;
use crate::paths::{SCHEMA, SCHEMA_2};

/// The content of `.etcd/<instance>/instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`], or [`SCHEMA_2`] if there are several members, TLS, or users.
    pub schema: u32,
    /// The instance's name.
    pub instance: String,
    /// The client URLs.
    pub endpoints: Vec<String>,
    /// The peer URL, of the server's own port for other members.
    pub peer_url: String,
    /// The member's name.
    pub member: String,
    /// The server's version.
    pub version: Version,
    /// The program that was started.
    pub binary: PathBuf,
    /// etcd's `--data-dir`.
    pub data_dir: PathBuf,
    /// The server's log.
    pub log: PathBuf,
    /// The cluster's id, 16 hexadecimal digits; absent until it is known.
    pub cluster_id: Option<ClusterId>,
    /// The server's processes, the same as in `process`; empty while it is stopped.
    pub pids: Vec<u32>,
    /// The server's process; absent while it is stopped, and in the moment of its start.
    pub process: Option<Identity>,
    /// Milliseconds from spawn to proven ready, at the last start.
    pub ready_ms: Option<u64>,
    /// If clients speak TLS, the directory with what they need: `ca.pem`, `client.pem` and `client-key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PathBuf>,
    /// If the servers speak TLS among each other, the directory with what they need: `ca.pem`, `peer.pem` and `peer-key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_tls: Option<PathBuf>,
    /// If authentication is on, the file with the password of the user `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// If anybody speaks TLS, where the only member tells in plain HTTP whether it is healthy, and no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The members, if there are several. Then `endpoints` are those of all members that vote, `pids` those of all, `process` is absent, and
    /// `member`, `peer_url` and `log` are the first member's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRecord>,
}

/// One of several members of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The member's name, which is also the name of its directory in the instance's directory.
    pub name: String,
    /// The client URL.
    pub endpoint: String,
    /// The URL for other members.
    pub peer_url: String,
    /// If anybody speaks TLS, where it tells in plain HTTP whether it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// etcd's `--data-dir`.
    pub data_dir: PathBuf,
    /// The server's log.
    pub log: PathBuf,
    /// The server's processes; empty while it is stopped.
    pub pids: Vec<u32>,
    /// The server's process; absent while it is stopped.
    pub process: Option<Identity>,
    /// Whether it is a learner, which gets all keys, does not vote, and refuses most requests. It is not in `endpoints`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learner: bool,
}

impl Record {
    /// Reads a record; `None`: there is no such file.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a record of this schema.
    pub fn read(path: &Path) -> Result<Option<Self>, InstanceError> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(InstanceError::unreadable(path)(error)),
        }
    }

    /// How clients reach the instance.
    ///
    /// # Errors
    /// [`ClientConfigError::PasswordFile`].
    pub fn client_config(&self) -> Result<ClientConfig, ClientConfigError> {
        ClientConfig::of_instance(self.endpoints.clone(), self.tls.as_deref(), self.password_file.as_deref())
    }

    /// The record that the text of this file is.
    ///
    /// # Errors
    /// If it is not a record of this schema.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, InstanceError> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }

        let damaged = |reason: String| InstanceError::Damaged { path: path.to_owned(), reason };
        let Schema { schema } = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        match schema {
            SCHEMA | SCHEMA_2 => serde_json::from_slice(text).map_err(|error| damaged(error.to_string())),
            0 => Err(damaged("there is no schema 0".to_owned())),
            schema => Err(InstanceError::Newer { path: path.to_owned(), schema }),
        }
    }
}

/// What tells one process from every other that had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it began, in the system's own unit: clock ticks after boot on Linux, microseconds after the
    /// epoch on macOS, 100 ns after 1601 on Windows.
    pub started: u64,
    /// The boot during which it began; empty where `started` is absolute.
    pub boot: String,
    /// The program it runs.
    pub exe: PathBuf,
}

/// A cluster's id: 64 bits, written as 16 hexadecimal digits, as etcd does in its log and in the
/// `X-Etcd-Cluster-Id` header. (etcdctl's JSON writes the same number in decimal.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
