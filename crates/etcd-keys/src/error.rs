//! What can go wrong between us and etcd: the operation, the keys, the endpoint, and etcd's own code. The
//! one place that reads etcd's messages.

use std::fmt;

use tonic::Code;

use crate::range::KeyRange;

/// An operation on the keyspace that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} at {endpoint}: {kind}")]
pub struct Error {
    /// What was to be done, with its keys: ``read `/a` --prefix``.
    pub operation: Operation,
    /// The endpoints that were used, separated by commas.
    pub endpoint: String,
    /// What happened.
    pub kind: Kind,
    /// What etcd-client said, where it said something.
    pub source: Option<Box<etcd_client::Error>>,
}

/// What was to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Open a connection.
    Connect,
    /// Read keys.
    Read(KeyRange),
    /// Write keys.
    Write(KeyRange),
    /// Delete keys.
    Delete(KeyRange),
    /// Commit a transaction.
    Commit,
    /// Follow keys.
    Watch(KeyRange),
    /// Something else, in words that follow `cannot`.
    Other(&'static str),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Read(range) => write!(f, "read {range}"),
            Self::Write(range) => write!(f, "write {range}"),
            Self::Delete(range) => write!(f, "delete {range}"),
            Self::Commit => f.write_str("commit a transaction"),
            Self::Watch(range) => write!(f, "watch {range}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Why it failed. `Display` is a lowercase fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// Nobody answers, or what answers is no etcd.
    #[error("no etcd answers")]
    Unreachable,
    /// The answer did not come in time. A write may have been done all the same.
    #[error("no answer in time")]
    TimedOut,
    /// The revision asked for was compacted away.
    #[error("revision {asked} is compacted; the oldest that can be read is {}", at_least(*oldest))]
    Compacted {
        /// The revision asked for.
        asked: i64,
        /// The oldest that is left, where etcd said so.
        oldest: Option<i64>,
    },
    /// The revision asked for has not happened.
    #[error("revision {0} has not happened yet")]
    FutureRevision(i64),
    /// Over a limit of etcd's: 1.5 MiB a request, 128 operations a transaction, by default.
    #[error("the request is too large: {0}")]
    TooLarge(String),
    /// The database is over its quota: writes fail, deletes work.
    #[error("the database is over its quota (alarm NOSPACE); compact, defragment, then disarm the alarm")]
    NoSpace,
    /// User, password or rights are wrong.
    #[error("permission denied: {0}")]
    Denied(String),
    /// An empty key, or a request that etcd finds malformed.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Anything else, in etcd's words.
    #[error("{message} ({code})")]
    Etcd {
        /// gRPC's code, as in `Unavailable`.
        code: String,
        /// etcd's message.
        message: String,
    },
}

fn at_least(oldest: Option<i64>) -> String {
    oldest.map_or_else(|| "unknown".to_owned(), |revision| revision.to_string())
}

impl Kind {
    /// What an error of etcd-client's means.
    #[must_use]
    pub fn of(error: &etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(status.code(), status.message()),
            etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => Self::Unreachable,
            etcd_client::Error::InvalidArgs(message) => Self::Invalid(message.clone()),
            other => Self::Etcd { code: "client".to_owned(), message: other.to_string() },
        }
    }

    /// etcd's messages are in its `api/v3rpc/rpctypes/error.go`.
    fn of_status(code: Code, message: &str) -> Self {
        let says = |words: &str| message.contains(words);
        match code {
            Code::OutOfRange if says("compacted") => Self::Compacted { asked: 0, oldest: None },
            Code::OutOfRange if says("future revision") => Self::FutureRevision(0),
            Code::ResourceExhausted if says("database space exceeded") => Self::NoSpace,
            Code::ResourceExhausted | Code::OutOfRange => Self::TooLarge(message.to_owned()),
            Code::InvalidArgument if says("request is too large") || says("too many operations") => {
                Self::TooLarge(message.to_owned())
            }
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied(message.to_owned()),
            Code::InvalidArgument if says("authentication failed") || says("user name is empty") => {
                Self::Denied(message.to_owned())
            }
            Code::InvalidArgument => Self::Invalid(message.to_owned()),
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            Code::Unavailable if says("request timed out") => Self::TimedOut,
            Code::Unavailable => Self::Unreachable,
            Code::Unknown | Code::Internal if says("transport error") || says("h2 protocol") => Self::Unreachable,
            code => Self::Etcd { code: format!("{code:?}"), message: message.to_owned() },
        }
    }

    /// Whether the same call may succeed when it is made again, on another connection say.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut)
    }
}
