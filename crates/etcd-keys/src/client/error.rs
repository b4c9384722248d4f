//! Errors of requests to etcd: the operation with its keys, the endpoint, the kind of failure, and etcd's own code. Only
//! this module interprets etcd's messages.

use std::fmt;
use std::sync::Arc;

use tonic::Code;

use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;
use crate::client::text::Escaped;
use crate::client::tls::TlsError;

/// An operation on the keyspace that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot {operation} at {endpoint}: {kind}")]
pub struct Error {
    /// The operation that failed, with its keys: ``read prefix `/a` ``.
    pub operation: Operation,
    /// The endpoints that were used, separated by commas.
    pub endpoint: Arc<str>,
    /// Why it failed.
    pub kind: ErrorKind,
    /// etcd-client's error, if there is one.
    pub source: Option<Box<etcd_client::Error>>,
}

impl Error {
    /// The gRPC code of etcd's answer, like `PermissionDenied`; `None` if etcd did not answer.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self.source.as_deref()? {
            etcd_client::Error::GRpcStatus(status) => Some(status.code()),
            _ => None,
        }
    }
}

/// An operation, for error messages.
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
    /// Watch keys.
    Watch(KeyRange),
    /// Read what happened to keys.
    ReadHistory(KeyRange),
    /// An operation on a lease: `revoke`, `renew`, `look up`.
    Lease(&'static str, LeaseId),
    /// List the leases of the cluster.
    ListLeases,
    /// Grant a lease, in the namespace with this prefix.
    Grant(Vec<u8>),
    /// Acquire the lock of this name.
    Lock(Vec<u8>),
    /// An operation on the election of this name: `win`, `follow`, `ask for the leader of`.
    Election(&'static str, Vec<u8>),
    /// List the users.
    ListUsers,
    /// An operation on the user of this name: `create`, `read`, `delete`.
    User(&'static str, String),
    /// An operation on the role of this name.
    Role(&'static str, String),
    /// List the members of the cluster.
    ListMembers,
    /// A change of the cluster's members: `add`, `remove`, `promote`, and the member's peer URL or id.
    Member(&'static str, String),
    /// An operation on the database of a member: `compact`, `defragment`.
    Maintain(&'static str),
    /// Change the endpoints of the connection.
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
            Self::ReadHistory(range) => write!(f, "read the history of {range}"),
            Self::Lease(what, id) => write!(f, "{what} lease {id}"),
            Self::ListLeases => f.write_str("list the leases"),
            Self::Grant(prefix) if prefix.is_empty() => f.write_str("grant a lease"),
            Self::Grant(prefix) => write!(f, "grant a lease for `{}`", Escaped(prefix)),
            Self::Lock(name) => write!(f, "lock `{}`", Escaped(name)),
            Self::Election(what, name) => write!(f, "{what} election `{}`", Escaped(name)),
            Self::ListUsers => f.write_str("list the users"),
            Self::User(what, name) => write!(f, "{what} the user `{}`", name.escape_debug()),
            Self::Role(what, name) => write!(f, "{what} the role `{}`", name.escape_debug()),
            Self::ListMembers => f.write_str("list the members"),
            Self::Member(what, member) => write!(f, "{what} the member `{}`", member.escape_debug()),
            Self::Maintain(what) => write!(f, "{what} the database"),
            Self::ChangeEndpoints => f.write_str("change the endpoints"),
        }
    }
}

/// Why an operation failed. `Display` is a lowercase fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no answer, or the answer is not etcd's.
    #[error("no etcd answers")]
    Unreachable,
    /// The member that answered cannot serve, in etcd's words: it has no leader, as one that its peers have lost, or it is
    /// a learner. Another member may serve: the next call goes there.
    #[error("the member cannot serve: {0}")]
    CannotServe(String),
    /// The connection by TLS could not be made, or the server ended it.
    #[error(transparent)]
    Tls(TlsError),
    /// The answer did not come in time. A write may have been done.
    #[error("no answer in time")]
    TimedOut,
    /// The requested revision was compacted away.
    #[error("revision {asked} is compacted; the oldest that can be read is {}", at_least(*oldest))]
    Compacted {
        /// The requested revision.
        asked: i64,
        /// The oldest revision that can be read, if etcd reported it.
        oldest: Option<i64>,
    },
    /// The requested revision is newer than the newest one.
    #[error("revision {0} has not happened yet")]
    FutureRevision(i64),
    /// The request is over a limit of the server. The defaults are 1.5 MiB for a request (`--max-request-bytes`) and 128
    /// operations in a transaction (`--max-txn-ops`).
    #[error("over a limit: {0}")]
    TooLarge(String),
    /// The database is over its quota: writes fail, deletes work. Compact, defragment, then disarm the alarm.
    #[error("the database is over its quota (alarm NOSPACE)")]
    NoSpace,
    /// The user, the password or the permissions are wrong: etcd's message, and the name of the connection's user.
    #[error("refused by etcd: {}", denial(.0))]
    Denied(String),
    /// Users or roles were changed after the connection had logged in, or while etcd had the request. Etcd has done nothing.
    #[error("users or roles were changed meanwhile")]
    UsersChanged,
    /// The lease has expired, was revoked, or never existed.
    #[error("there is no such lease")]
    NoLease,
    /// The key does not exist, but a write was to keep its value or its lease.
    #[error("there is no such key")]
    NoKey,
    /// Others held the lock, or led, until the timeout.
    #[error("others held it until the timeout")]
    Held,
    /// A condition does not hold any more; see [`Deletion::only_while`](crate::delete::Deletion::only_while).
    #[error("a condition of the operation does not hold any more")]
    NotMet,
    /// The operation began on another cluster than the one that answers now; or the endpoints lead to two clusters.
    #[error(
        "cluster {now:016x} answers, but cluster {before:016x} answered before: the cluster was reset or replaced, or the endpoints lead to two clusters"
    )]
    AnotherCluster {
        /// The id of the cluster before.
        before: u64,
        /// The id of the cluster that answers now.
        now: u64,
    },
    /// An empty key, or another request that etcd calls invalid.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Any other error, with etcd's message.
    #[error("{message} ({code})")]
    Etcd {
        /// The gRPC code, like `Unavailable`.
        code: String,
        /// etcd's message.
        message: String,
    },
}

/// Another cluster at an endpoint of the same list.
#[derive(Debug, thiserror::Error)]
#[error("cluster {now:016x} answers where a member of cluster {before:016x} should")]
pub(crate) struct OtherCluster {
    pub(crate) before: u64,
    pub(crate) now: u64,
}

/// Before the name of the user in a denial.
const AS_USER: &str = " (as the user `";

/// What went wrong below gRPC and HTTP, if it was this.
fn cause<T: std::error::Error + 'static>(error: &etcd_client::Error) -> Option<&T> {
    let top: &(dyn std::error::Error + 'static) = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        other => other,
    };
    std::iter::successors(Some(top), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// Whether etcd refused the user. The code of such an answer differs.
fn denies(words: &str) -> bool {
    ["permission denied", "authentication failed", "authentication is not enabled", "user name is empty"]
        .iter()
        .any(|refusal| words.starts_with(refusal))
        || words.contains("invalid auth token")
}

/// etcd's message, with an explanation if it needs one.
fn denial(words: &str) -> String {
    let has_no_user = words.starts_with("user name is empty");
    let meaning = if has_no_user { ": authentication is enabled, and this connection has no user" } else { "" };
    format!("{words}{meaning}")
}

/// Whether tonic or hyper report that there is no connection to an etcd.
fn says_no_connection(words: &str) -> bool {
    ["transport error", "h2 protocol error", "Service was not ready", "runtime that the connection was opened on"]
        .iter()
        .any(|failure| words.contains(failure))
}

fn at_least(oldest: Option<i64>) -> String {
    oldest.map_or_else(|| "unknown".to_owned(), |revision| revision.to_string())
}

impl ErrorKind {
    /// The kind of an error of etcd-client.
    #[must_use]
    pub fn of(error: &etcd_client::Error) -> Self {
        if let Some(tls) = cause::<TlsError>(error) {
            return Self::Tls(tls.clone());
        }
        if let Some(&OtherCluster { before, now }) = cause(error) {
            return Self::AnotherCluster { before, now };
        }
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(status.code(), status.message()),
            etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => Self::Unreachable,
            etcd_client::Error::InvalidArgs(message) => Self::Invalid(message.clone()),
            etcd_client::Error::InvalidUri(error) => Self::Invalid(error.to_string()),
            // etcd-client's error for an answer without a time to live.
            etcd_client::Error::LeaseKeepAliveError(message) if message == "lease not found" => Self::NoLease,
            other => Self::Etcd { code: "client".to_owned(), message: other.to_string() },
        }
    }

    /// Known messages, from etcd's `api/v3rpc/rpctypes/error.go`, decide first, because locks and elections pass them on
    /// with the code `Unknown`. Then the code decides.
    pub(crate) fn of_status(code: Code, message: &str) -> Self {
        // `auth: `: from defragmentation, with 3.5.
        let words = message.strip_prefix("etcdserver: ").or(message.strip_prefix("auth: ")).unwrap_or(message);
        match words {
            "mvcc: required revision has been compacted" => Self::Compacted { asked: 0, oldest: None },
            "mvcc: required revision is a future revision" => Self::FutureRevision(0),
            "mvcc: database space exceeded" => Self::NoSpace,
            "revision of auth store is old" => Self::UsersChanged,
            "request is too large" | "too many operations in txn request" => Self::TooLarge(words.to_owned()),
            "requested lease not found" => Self::NoLease,
            "key not found" => Self::NoKey,
            // From a server that lost its quorum, or its clients. The write may have been done.
            _ if words.starts_with("request timed out") => Self::TimedOut,
            "no leader" | "leader changed" | "unhealthy cluster" | "not capable" | "rpc not supported for learner" => {
                Self::CannotServe(words.to_owned())
            }
            "server stopped" | "too many requests" => Self::Unreachable,
            _ if denies(words) => Self::Denied(words.to_owned()),
            _ => Self::of_code(code, words),
        }
    }

    /// Why etcd ended a watch, by its reason. Most reasons are known; otherwise the member has no leader or is shutting down,
    /// and the next attempt shows which.
    pub(crate) fn of_cancellation(reason: &str) -> Self {
        match reason {
            _ if reason.contains("revision of auth store is old") => Self::UsersChanged,
            _ if reason.contains("permission denied") || reason.contains("auth") => Self::Denied(reason.to_owned()),
            _ => Self::Unreachable,
        }
    }

    fn of_code(code: Code, words: &str) -> Self {
        match code {
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied(words.to_owned()),
            // gRPC's limits for message sizes, of the server or of this client.
            Code::ResourceExhausted | Code::OutOfRange if words.contains("larg") => Self::TooLarge(words.to_owned()),
            Code::InvalidArgument => Self::Invalid(words.to_owned()),
            // hyper's message for a connection that closed before the request was sent.
            Code::Cancelled if words == "operation was canceled" => Self::Unreachable,
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            Code::Unavailable => Self::Unreachable,
            Code::Unknown | Code::Internal if says_no_connection(words) => Self::Unreachable,
            code => Self::Etcd { code: format!("{code:?}"), message: words.to_owned() },
        }
    }

    /// The same as a connection with this user gets it: a denial names the user.
    pub(crate) fn with_user(self, user: Option<&str>) -> Self {
        match (self, user) {
            (Self::Denied(words), Some(user)) if !words.contains(AS_USER) => {
                Self::Denied(format!("{words}{AS_USER}{}`)", user.escape_debug()))
            }
            (kind, _) => kind,
        }
    }

    /// Whether etcd refused the request because authentication is enabled and the connection has no user, neither by name nor
    /// by a client certificate: one whose common name is no user's counts as none.
    #[must_use]
    pub fn is_without_user(&self) -> bool {
        match self {
            Self::Denied(words) => words.starts_with("user name is empty"),
            Self::Etcd { message, .. } => message == "user name not found",
            _ => false,
        }
    }

    /// Whether etcd refused the request of a user like this, by name.
    #[must_use]
    pub fn is_denied_to(&self, is_user: impl FnOnce(&str) -> bool) -> bool {
        match self {
            Self::Denied(words) => words.split_once(AS_USER).is_some_and(|(_, user)| is_user(user)),
            _ => false,
        }
    }

    /// Whether the user or the role does not exist.
    pub(crate) fn is_absent_user_or_role(&self) -> bool {
        let absent = ["user name not found", "role name not found"];
        matches!(self, Self::Etcd { message, .. } if absent.contains(&message.as_str()))
    }

    /// Whether the same request may succeed when it is sent again, for example on another connection.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::CannotServe(_) | Self::UsersChanged)
    }
}
