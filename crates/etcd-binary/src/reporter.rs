//! How this crate says what it is doing: [`Event`]s to a [`Reporter`]. The crate itself never prints.

use std::fmt;
use std::path::PathBuf;

use semver::Version;

use crate::{Source, Tool};

/// Receives what happens while a call runs. Calls come from the calling thread, in order.
pub trait Reporter: Send + Sync {
    /// Something happened. Must return soon: the operation waits for it.
    fn report(&self, event: &Event);
}

/// The reporter that says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event) {}
}

/// What a [`Reporter`] hears. `Display` is for people, one line unless it lists reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An installation begins.
    Installing {
        /// What is installed.
        tool: Tool,
        /// Which version of it.
        version: Version,
        /// From where.
        source: Source,
    },
    /// Bytes arrived.
    Downloading {
        /// Bytes so far.
        received: u64,
        /// Bytes in all, where the other side said so.
        total: Option<u64>,
    },
    /// The download is over; what was received is now being checked and unpacked.
    Downloaded,
    /// One source had nothing; the next is tried.
    SourceFailed {
        /// The source that failed.
        source: Source,
        /// Why, in one line.
        reason: String,
    },
    /// An installation ended well.
    Installed {
        /// The binary.
        path: PathBuf,
    },
    /// No binary satisfies the required version and none can be installed: this one is used all the same.
    Substituted {
        /// What was asked for.
        wanted: String,
        /// What is used.
        version: Version,
        /// Where it is.
        path: PathBuf,
        /// Why what was asked for cannot be installed, a line for each reason.
        reason: String,
    },
    /// Another process is changing the same thing; we wait for it.
    Waiting {
        /// The lock that is held.
        lock: PathBuf,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `version` is the crate's. protoc has a version number of its own.
            Self::Installing { tool: Tool::Protoc, version, source } => {
                write!(f, "installing the protoc of protoc-bin-vendored {version} from {source}")
            }
            Self::Installing { tool, version, source } => write!(f, "installing {tool} {version} from {source}"),
            Self::Downloading { received, total: Some(total) } => write!(f, "received {received} of {total} bytes"),
            Self::Downloading { received, total: None } => write!(f, "received {received} bytes"),
            Self::Downloaded => write!(f, "checking and unpacking"),
            Self::SourceFailed { source, reason } => write!(f, "not from {source}: {reason}"),
            Self::Installed { path } => write!(f, "installed {}", path.display()),
            Self::Substituted { wanted, version, path, reason } => {
                write!(f, "no etcd satisfies `{wanted}`: using {version} at {}\n  because: {reason}", path.display())
            }
            Self::Waiting { lock } => write!(f, "waiting for another process that holds {}", lock.display()),
        }
    }
}
