//! What can go wrong between us and etcd: the operation, the keys, the endpoint, and etcd's own code. The
//! one place that reads etcd's messages.

use std::fmt;
use std::sync::Arc;

use tonic::Code;

use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;
use crate::client::text::Escaped;

/// An operation on the keyspace that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot {operation} at {endpoint}: {kind}")]
pub struct Error {
    /// What was to be done, with its keys: ``read prefix `/a` ``.
    pub operation: Operation,
    /// The endpoints that were used, separated by commas.
    pub endpoint: Arc<str>,
    /// What happened.
    pub kind: ErrorKind,
    /// What etcd-client said, where it said something.
    pub source: Option<Box<etcd_client::Error>>,
}

impl Error {
    /// Etcd's own code, one of gRPC's: `PermissionDenied`. `None`: etcd has not answered.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self.source.as_deref()? {
            etcd_client::Error::GRpcStatus(status) => Some(status.code()),
            _ => None,
        }
    }
}

/// What was to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Open a connection.
    Connect,
    /// Open the keys below a prefix.
    OpenNamespace,
    /// Read keys.
    Read(KeyRange),
    /// Write keys.
    Write(KeyRange),
    /// Delete keys.
    Delete(KeyRange),
    /// Commit a transaction.
    Commit,
    /// Commit a transaction in a namespace, with the first key that it names.
    CommitOf(KeyRange),
    /// Follow keys.
    Watch(KeyRange),
    /// Something with a lease: `revoke`, `renew`, `look up`.
    Lease(&'static str, LeaseId),
    /// Grant a lease, in the namespace with this prefix.
    Grant(Vec<u8>),
    /// Acquire the lock of this name.
    Lock(Vec<u8>),
    /// Something with the election of this name: `win`, `follow`, `ask for the winner of`.
    Election(&'static str, Vec<u8>),
    /// List the members of the cluster.
    ListMembers,
    /// Go to other endpoints of the cluster.
    ChangeEndpoints,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::OpenNamespace => f.write_str("open a namespace"),
            Self::Read(range) => write!(f, "read {range}"),
            Self::Write(range) => write!(f, "write {range}"),
            Self::Delete(range) => write!(f, "delete {range}"),
            Self::Commit => f.write_str("commit a transaction"),
            Self::CommitOf(range) => write!(f, "commit a transaction of {range} and others"),
            Self::Watch(range) => write!(f, "watch {range}"),
            Self::Lease(what, id) => write!(f, "{what} lease {id}"),
            Self::Grant(prefix) if prefix.is_empty() => f.write_str("grant a lease"),
            Self::Grant(prefix) => write!(f, "grant a lease for `{}`", Escaped(prefix)),
            Self::Lock(name) => write!(f, "lock `{}`", Escaped(name)),
            Self::Election(what, name) => write!(f, "{what} election `{}`", Escaped(name)),
            Self::ListMembers => f.write_str("list the members"),
            Self::ChangeEndpoints => f.write_str("change the endpoints"),
        }
    }
}

/// Why it failed. `Display` is a lowercase fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
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
    /// Over a limit: 1.5 MiB a request and 128 operations a transaction (`--max-request-bytes`,
    /// `--max-txn-ops`), by default.
    #[error("over a limit: {0}")]
    TooLarge(String),
    /// The database is over its quota: writes fail, deletes work. Compact, defragment, then disarm the alarm.
    #[error("the database is over its quota (alarm NOSPACE)")]
    NoSpace,
    /// User, password or rights are wrong.
    #[error("refused by etcd: {}", denial(.0))]
    Denied(String),
    /// The lease has run out, was revoked, or never was.
    #[error("there is no such lease")]
    NoLease,
    /// The key must be there, and is not: its value or lease was to stay as it is.
    #[error("there is no such key")]
    NoKey,
    /// Somebody else has had the lock, or led, all the time that there was.
    #[error("others have held it for all of the time given")]
    Held,
    /// What was to hold all the while does not any more; see [`Deletion::only_while`](crate::delete::Deletion::only_while).
    #[error("what it depended on has changed")]
    NotMet,
    /// Another cluster answers than the one that the operation began with.
    #[error("cluster {before:016x} answered before, cluster {now:016x} does now: it was reset")]
    AnotherCluster {
        /// The id of the one before.
        before: u64,
        /// The id of the one that answers.
        now: u64,
    },
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

/// Etcd's refusals of a user, whatever code they come with.
fn denies(words: &str) -> bool {
    ["permission denied", "authentication failed", "authentication is not enabled", "user name is empty"]
        .iter()
        .any(|refusal| words.starts_with(refusal))
        || words.contains("invalid auth token")
}

/// Etcd's words, with what they mean where they do not say it.
fn denial(words: &str) -> String {
    let has_no_user = words.starts_with("user name is empty");
    let meaning = if has_no_user { ": authentication is enabled, and this connection has no user" } else { "" };
    format!("{words}{meaning}")
}

/// What tonic and hyper say where no etcd is at the other end, or it went away.
fn says_no_connection(words: &str) -> bool {
    ["transport error", "h2 protocol error", "Service was not ready", "runtime that the connection was opened on"]
        .iter()
        .any(|failure| words.contains(failure))
}

fn at_least(oldest: Option<i64>) -> String {
    oldest.map_or_else(|| "unknown".to_owned(), |revision| revision.to_string())
}

impl ErrorKind {
    /// What an error of etcd-client's means.
    #[must_use]
    pub fn of(error: &etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(status.code(), status.message()),
            etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => Self::Unreachable,
            etcd_client::Error::InvalidArgs(message) => Self::Invalid(message.clone()),
            etcd_client::Error::InvalidUri(error) => Self::Invalid(error.to_string()),
            // What etcd-client makes of an answer without time to live.
            etcd_client::Error::LeaseKeepAliveError(message) if message == "lease not found" => Self::NoLease,
            other => Self::Etcd { code: "client".to_owned(), message: other.to_string() },
        }
    }

    /// etcd's messages are in its `api/v3rpc/rpctypes/error.go`. They decide, as far as they are known: locks
    /// and elections pass them on with the code `Unknown`. Codes decide the rest.
    fn of_status(code: Code, message: &str) -> Self {
        let words = message.strip_prefix("etcdserver: ").unwrap_or(message);
        match words {
            "mvcc: required revision has been compacted" => Self::Compacted { asked: 0, oldest: None },
            "mvcc: required revision is a future revision" => Self::FutureRevision(0),
            "mvcc: database space exceeded" => Self::NoSpace,
            "request is too large" | "too many operations in txn request" => Self::TooLarge(words.to_owned()),
            "requested lease not found" => Self::NoLease,
            "key not found" => Self::NoKey,
            // These come from a server that lost its quorum, or us: it may have done what was asked.
            _ if words.starts_with("request timed out") => Self::TimedOut,
            "no leader" | "server stopped" | "too many requests" | "leader changed" => Self::Unreachable,
            _ if denies(words) => Self::Denied(words.to_owned()),
            _ => Self::of_code(code, words),
        }
    }

    fn of_code(code: Code, words: &str) -> Self {
        match code {
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied(words.to_owned()),
            // gRPC's limits for messages, the server's and ours.
            Code::ResourceExhausted | Code::OutOfRange if words.contains("larg") => Self::TooLarge(words.to_owned()),
            Code::InvalidArgument => Self::Invalid(words.to_owned()),
            // hyper's words for a connection that closed before the request was on its way.
            Code::Cancelled if words == "operation was canceled" => Self::Unreachable,
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            Code::Unavailable => Self::Unreachable,
            Code::Unknown | Code::Internal if says_no_connection(words) => Self::Unreachable,
            code => Self::Etcd { code: format!("{code:?}"), message: words.to_owned() },
        }
    }

    /// Whether the same call may succeed when it is made again, on another connection say.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut)
    }
}
