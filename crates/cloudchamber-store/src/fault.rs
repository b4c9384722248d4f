//! What can go wrong with any operation, whatever it is about. Each operation's own enum has it as `Fault`.

use std::fmt;

use crate::key::Foreign;
use crate::key::Key;

/// Most operations of one transaction: etcd's `--max-txn-ops`, by default (`DefaultMaxTxnOps` in its
/// `server/embed/config.go`).
pub const MOST_OPERATIONS: usize = 128;

/// Why an operation could not be done, for reasons that are not its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// [`Store::disconnect`](crate::Store::disconnect) was called.
    #[error("the store is disconnected; connect anew to go on")]
    Disconnected,
    /// An atomic call of more than [`MOST_OPERATIONS`] keys. Nothing was done.
    #[error("{0} keys are too many to be done as one: etcd takes {MOST_OPERATIONS}; make several calls of it")]
    TooMany(usize),
    /// One key twice in an atomic call. Nothing was done.
    #[error("`{0}` is named twice, and what is done as one does one thing with a key")]
    Twice(Key),
    /// A transaction failed although all its conditions hold, which etcd does not do.
    #[error("etcd says that a condition does not hold, and tells revisions of which all do")]
    Inexplicable,
    /// A key that the store cannot have written.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// etcd refused or did not answer.
    #[error(transparent)]
    Etcd(Box<EtcdError>),
}

/// What etcd has against an operation. A write that ends with [`Unreachable`](etcd_keys::Kind::Unreachable) or
/// [`TimedOut`](etcd_keys::Kind::TimedOut) may have been done all the same: read before you repeat it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} at {endpoint}: {kind}")]
pub struct EtcdError {
    /// What was to be done, with the store's own key: ``read `racks/rack/rack1` ``.
    pub operation: String,
    /// The endpoints, separated by commas.
    pub endpoint: String,
    /// What happened.
    pub kind: etcd_keys::Kind,
    /// What etcd's client said, where it said something.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// Puts an error of etcd's into the store's words: callers know nothing of its namespace.
    pub(crate) fn of<W: fmt::Display>(operation: W) -> impl FnOnce(etcd_keys::Error) -> Self {
        move |error| {
            Self::Etcd(Box::new(EtcdError {
                operation: operation.to_string(),
                endpoint: error.endpoint.to_string(),
                kind: error.kind,
                source: error.source.map(|source| source as Box<dyn std::error::Error + Send + Sync>),
            }))
        }
    }

    /// Whether nobody answered, or not in time: the same call may succeed later, and a write may have been done.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Etcd(error) if error.kind.is_transient())
    }
}
