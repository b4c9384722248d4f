//! Why a launch of etcd did not end in a ready server. What to do about it is the caller's.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use semver::Version;

use super::ports::{Holder, PortKind};

/// Why a launch did not end in a ready server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Somebody else listens on a port that we need.
    #[error("the {kind} port {port} is taken by {holder}")]
    PortTaken {
        /// The port.
        port: u16,
        /// What for.
        kind: PortKind,
        /// By whom.
        holder: Holder,
    },
    /// Clients and other members cannot share one.
    #[error("port {port} cannot be both the client port and the peer port")]
    SamePort {
        /// The port.
        port: u16,
    },
    /// The address is not one of this machine's, or the port is privileged.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The log file cannot be opened.
    #[error("cannot open the log `{}`", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate, or its key, cannot be read.
    #[error("cannot read `{}`, which etcd needs for TLS", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start `{}`", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// etcd ended before it was ready.
    #[error("etcd {version} ended with {status} before it was ready{}", because(reason.as_ref()))]
    Exited {
        /// Its version.
        version: Version,
        /// The etcd that has used the data so far, if that is an older one.
        last_used: Option<Box<Version>>,
        /// How it ended.
        status: ExitStatus,
        /// The last complaint in its log.
        reason: Option<String>,
        /// The whole log.
        log: PathBuf,
    },
    /// etcd cannot go on with what it had written.
    #[error("the data in `{}` is damaged: {}{reason}", data.display(), before(file.as_ref()))]
    Damaged {
        /// The data directory.
        data: PathBuf,
        /// Which file of it, from there on, if that is known.
        file: Option<PathBuf>,
        /// What is wrong with it.
        reason: String,
        /// The server's log.
        log: PathBuf,
    },
    /// etcd was killed during its first start on this data, before it could take a write. No etcd can go on with it.
    #[error("the data directory is incomplete: etcd was killed during its first start")]
    IncompleteBootstrap {
        /// The server's log.
        log: PathBuf,
    },
    /// etcd held its election while it still read its log, and panicked. Its data is whole, and the next start may succeed.
    #[error("etcd crashed: its election came before it had read its log")]
    EarlyElection {
        /// The server's log.
        log: PathBuf,
    },
    /// etcd lives, but our member does not answer as a ready one.
    #[error("etcd was not ready after {} s: {reason}", waited.as_secs_f32())]
    NotReady {
        /// How long we waited.
        waited: Duration,
        /// The last answer.
        reason: String,
        /// The server's log.
        log: PathBuf,
    },
}

fn before(file: Option<&PathBuf>) -> String {
    file.map(|file| format!("`{}`: ", file.display())).unwrap_or_default()
}

fn because(reason: Option<&String>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}
