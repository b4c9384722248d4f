//! What can go wrong in the store: one error type for all operations. Knows no operation by name.

use std::fmt;
use std::io;

use crate::condition::Condition;

/// An operation of the store that failed: what was to be done, and [why](Error::kind) it could not be done.
///
/// ```
/// use cloudchamber_store::{ErrorKind, Name};
///
/// let error = Name::new("rack 7").unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::InvalidName { .. }));
/// assert!(error.to_string().starts_with("cannot use `rack 7` as a name: "));
/// ```
#[derive(Debug)]
pub struct Error {
    operation: String,
    failure: Box<Failure>,
}

/// Why an operation failed. `Display` is the part of the message that follows the operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The record must not exist, and exists.
    #[error("the record exists already, with revision {revision}; nothing was changed")]
    AlreadyExists {
        /// The revision of the record's last write.
        revision: i64,
    },
    /// The record must exist, and does not.
    #[error("there is no such record; nothing was changed")]
    NotFound,
    /// The record exists, and a condition on its revision does not hold: somebody else changed the record.
    #[error("the record has revision {found}, but must {condition}; nothing was changed")]
    Conflict {
        /// The condition.
        condition: Condition,
        /// The revision of the record's last write.
        found: i64,
    },
    /// A text is not a valid name, key, prefix or root.
    #[error("{reason}")]
    InvalidName {
        /// The rule that the text breaks.
        reason: String,
    },
    /// A key in etcd, below the store's keys, is not a valid key of the store.
    #[error("`{key}`, written at revision {revision}, is not a valid key of the store; another program wrote it")]
    InvalidKey {
        /// The key, escaped, relative to the store's namespace.
        key: String,
        /// The revision of the key's last write.
        revision: i64,
    },
    /// A record's value is not valid JSON of the type that was asked for.
    #[error("{reason}")]
    InvalidRecord {
        /// The revision of the record's last write.
        revision: i64,
        /// What the JSON parser reports.
        reason: String,
    },
    /// A value cannot be encoded as JSON.
    #[error("{reason}")]
    InvalidValue {
        /// What the JSON writer reports.
        reason: String,
    },
    /// A setting is not valid, or the configuration file is not valid YAML.
    #[error("{}{reason}", place(*line, setting.as_deref()))]
    InvalidConfig {
        /// The line in the file, from 1; `None` if the settings do not come from a file.
        line: Option<usize>,
        /// The setting with its sections, like `store.etcdService.port`; `None` if the file is not valid YAML.
        setting: Option<String>,
        /// What is wrong, in words that follow the setting.
        reason: String,
    },
    /// The configuration file exists, and cannot be read.
    #[error("{reason}")]
    UnreadableConfig {
        /// What kind of error the system reported.
        kind: io::ErrorKind,
        /// The system's message.
        reason: String,
    },
    /// A call that changes all keys or none was given more than
    /// [`MAX_OPERATIONS`](crate::MAX_OPERATIONS) keys. Nothing was changed.
    #[error("one transaction takes at most {most} keys, and {given} are given; use several transactions")]
    TooManyKeys {
        /// How many keys were given.
        given: usize,
        /// How many keys etcd takes.
        most: usize,
    },
    /// A call that changes all keys or none was given one key twice. Nothing was changed.
    #[error("the key is given twice, and a transaction does only one thing with a key")]
    DuplicateKey,
    /// [`Store::disconnect`](crate::Store::disconnect) was called.
    #[error("the store is disconnected; connect again")]
    Disconnected,
    /// The watch was closed.
    #[error("the watch is closed")]
    Closed,
    /// No member of the cluster has a URL for clients.
    #[error("no member of the cluster has a client URL; the endpoints stay the same")]
    NoClientUrls,
    /// etcd answered something that contradicts itself.
    #[error("etcd refused the transaction, but all of its conditions hold")]
    UnexpectedAnswer,
    /// etcd refused, or did not answer. A write that ends with [`Unreachable`](etcd_keys::ErrorKind::Unreachable) or
    /// [`TimedOut`](etcd_keys::ErrorKind::TimedOut) may have been done: read before you repeat it.
    #[error(transparent)]
    Etcd(etcd_keys::ErrorKind),
}

fn place(line: Option<usize>, setting: Option<&str>) -> String {
    let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    let setting = setting.map(|setting| format!("`{setting}` ")).unwrap_or_default();
    line + &setting
}

impl Error {
    pub(crate) fn new(operation: impl fmt::Display, failure: impl Into<Failure>) -> Self {
        Self { operation: operation.to_string(), failure: Box::new(failure.into()) }
    }

    /// Why the operation failed.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.failure.kind
    }

    /// What was to be done, in words that follow `cannot`: ``read `racks/rack/rack1` ``.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// The key that the operation failed at, where there is such a key: of a transaction, the first key whose condition
    /// does not hold.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.failure.key()
    }

    /// The error of etcd's client, if etcd refused or did not answer. Its keys have the store's namespace in front.
    #[must_use]
    pub fn etcd(&self) -> Option<&etcd_keys::Error> {
        self.failure.source.as_deref()?.downcast_ref()
    }

    /// Whether no etcd answered, or not in time: the same call may succeed later, and a write may have been done.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Etcd(kind) if kind.is_transient())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.operation)?;
        if let Some(etcd) = self.etcd() {
            write!(f, " at {}", etcd.endpoint)?;
        }
        write!(f, ": {}", self.failure.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure.source.as_deref().map(|source| source as _)
    }
}

/// A failure before it is known which operation failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    key: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) fn at(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, key: None, source: None }
    }
}

impl From<etcd_keys::Error> for Failure {
    fn from(error: etcd_keys::Error) -> Self {
        Self::from(ErrorKind::Etcd(error.kind.clone())).because(error)
    }
}
