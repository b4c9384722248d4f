//! How the library says what it is doing: [`Event`]s to a [`Reporter`]. The library itself never prints.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use semver::Version;

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

/// Passes on what happens while a binary is found or installed.
pub(crate) struct OfBinaries(pub(crate) Arc<dyn Reporter>);

impl etcd_binary::Reporter for OfBinaries {
    fn report(&self, event: &etcd_binary::Event) {
        self.0.report(&Event::Binary(event.clone()));
    }
}

/// What a [`Reporter`] hears. `Display` is for people, one line unless it lists reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A binary is being found or installed.
    Binary(etcd_binary::Event),
    /// Another process is changing the same thing; we wait for it.
    Waiting {
        /// The lock that is held.
        lock: PathBuf,
    },
    /// A file that could not be understood was renamed, so that nothing is lost.
    SetAside {
        /// Its name now.
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// A server was stopped, and its record could not be written: it still says that the server runs.
    Unrecorded {
        /// The record.
        record: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A later minor version of etcd has upgraded the data. The upgrade cannot be undone.
    Upgraded {
        /// Whose data.
        instance: String,
        /// The newest etcd that had used it so far.
        from: Version,
        /// The one that does now.
        to: Version,
    },
    /// An instance starts on other data than it had last, which stays where it is.
    Moved {
        /// Whose data.
        instance: String,
        /// Where it had some.
        from: PathBuf,
        /// Where it has some now.
        to: PathBuf,
    },
    /// A new member joins, in the place of one of its name, or as a learner.
    Replacing {
        /// The instance.
        instance: String,
        /// The member.
        member: String,
    },
    /// A server is about to listen beyond loopback. It knows no passwords.
    Exposed {
        /// The address that it listens on.
        host: IpAddr,
    },
    /// A member of an ephemeral cluster is to end, as the caller asks.
    Stopping {
        /// The member.
        member: String,
    },
    /// A member of an ephemeral cluster is to be killed, as the caller asks.
    Killing {
        /// The member.
        member: String,
    },
    /// A member of an ephemeral cluster that had ended runs again.
    Restarted {
        /// The member.
        member: String,
    },
    /// A member of an ephemeral cluster leads now, as the caller asked.
    LeadershipMoved {
        /// The member.
        to: String,
    },
    /// A server was found running without a record of it, and is used.
    Adopted {
        /// Its process.
        pid: u32,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(event) => event.fmt(f),
            Self::Waiting { lock } => write!(f, "waiting for another process that holds {}", lock.display()),
            Self::SetAside { path, reason } => write!(f, "set aside as {}: {reason}", path.display()),
            Self::Unrecorded { record, reason } => {
                write!(f, "`{}` could not be written, and still says that the server runs: {reason}", record.display())
            }
            Self::Upgraded { instance, from, to } => write!(
                f,
                "etcd {to} upgraded the data of `{instance}`, which etcd {from} used last; this upgrade cannot be undone"
            ),
            Self::Moved { instance, from, to } => write!(
                f,
                "`{instance}` has its data in {} now; what it had last stays in {}",
                to.display(),
                from.display()
            ),
            Self::Replacing { instance, member } => write!(
                f,
                "member `{member}` of `{instance}` joins the cluster, and gets all keys from the other members"
            ),
            Self::Exposed { host } => write!(
                f,
                "etcd listens on {host}, not only on this machine: everyone who can reach this address can read and write all keys"
            ),
            Self::Stopping { member } => write!(f, "member `{member}` is stopped"),
            Self::Killing { member } => write!(f, "member `{member}` is killed"),
            Self::Restarted { member } => write!(f, "member `{member}` runs again"),
            Self::LeadershipMoved { to } => write!(f, "the leadership has moved to member `{to}`"),
            Self::Adopted { pid } => write!(f, "found the server already running, pid {pid}"),
        }
    }
}
