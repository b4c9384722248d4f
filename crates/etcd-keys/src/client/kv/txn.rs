//! Transactions: comparisons, operations if all of them hold, and operations if not.

use etcd_client::{CompareOp, TxnOp, TxnOpResponse};

use super::{Delete, DeleteResponse, Get, GetResponse, KeyValue, Put, PutResponse, revision, to_wire};
use crate::client::error::ErrorKind;
use crate::client::lease_id::LeaseId;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A transaction: if all comparisons hold, the operations of `then` run, else those of `or_else`, in one revision. etcd
/// accepts at most 128 operations by default, with those of nested transactions. No key may be written twice.
///
/// ```
/// use etcd_keys::kv::{Compare, Get, Put, Txn};
///
/// let claim = Txn::new()
///     .when(Compare::absent("racks/1"))
///     .then(Put::new("racks/1", "mine"))
///     .or_else(Get::key("racks/1"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Txn {
    compares: Vec<Compare>,
    then: Vec<Op>,
    or_else: Vec<Op>,
}

impl Txn {
    /// A transaction that compares nothing and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a comparison.
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds an operation for the case that all comparisons hold.
    pub fn then(mut self, op: impl Into<Op>) -> Self {
        self.then.push(op.into());
        self
    }

    /// Adds an operation for the case that a comparison does not hold.
    pub fn or_else(mut self, op: impl Into<Op>) -> Self {
        self.or_else.push(op.into());
        self
    }

    /// The first keys in the transaction, for messages.
    pub(crate) fn first_range(&self) -> Option<KeyRange> {
        let compared = self.compares.first().map(|compare| compare.range.clone());
        compared.or_else(|| {
            self.ops().find_map(|op| match op {
                Op::Get(get) => Some(get.range.clone()),
                Op::Put(put) => Some(put.range()),
                Op::Delete(delete) => Some(delete.range.clone()),
                Op::Txn(txn) => txn.first_range(),
            })
        })
    }

    /// The oldest and the newest revision of its reads; (0, 0) if all reads are at the current revision.
    pub(crate) fn revisions(&self) -> (i64, i64) {
        let revisions = self.ops().flat_map(|op| match op {
            Op::Get(get) => [get.revision, get.revision],
            Op::Txn(txn) => txn.revisions().into(),
            Op::Put(_) | Op::Delete(_) => [0, 0],
        });
        revisions.filter(|revision| *revision > 0).fold((0, 0), |(oldest, newest), revision| {
            (if oldest == 0 { revision } else { oldest.min(revision) }, newest.max(revision))
        })
    }

    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.then.iter().chain(&self.or_else)
    }

    pub(crate) fn into_etcd(self, namespace: &Namespace) -> Result<etcd_client::Txn, ErrorKind> {
        let compares = self.compares.into_iter().map(|compare| compare.into_etcd(namespace));
        let then = self.then.into_iter().map(|op| op.into_etcd(namespace));
        let or_else = self.or_else.into_iter().map(|op| op.into_etcd(namespace));
        Ok(etcd_client::Txn::new()
            .when(compares.collect::<Result<Vec<_>, _>>()?)
            .and_then(then.collect::<Result<Vec<_>, _>>()?)
            .or_else(or_else.collect::<Result<Vec<_>, _>>()?))
    }
}

/// A comparison of a key, or of each key of a range. A range without keys compares like a single absent key; a comparison
/// by value then fails.
#[derive(Clone, Debug)]
pub struct Compare {
    range: KeyRange,
    op: CompareOp,
    with: With,
}

#[derive(Clone, Debug)]
enum With {
    Version(i64),
    CreateRevision(i64),
    ModRevision(i64),
    Value(Vec<u8>),
    Lease(Option<LeaseId>),
}

impl Compare {
    /// Compares the number of writes since the key was created; 0 means the key is absent.
    pub fn version(range: KeyRange, op: CompareOp, version: i64) -> Self {
        Self { range, op, with: With::Version(version) }
    }

    /// Compares the revision that created the key; 0 means the key is absent.
    pub fn create_revision(range: KeyRange, op: CompareOp, revision: i64) -> Self {
        Self { range, op, with: With::CreateRevision(revision) }
    }

    /// Compares the revision that last wrote the key; 0 means the key is absent.
    pub fn mod_revision(range: KeyRange, op: CompareOp, revision: i64) -> Self {
        Self { range, op, with: With::ModRevision(revision) }
    }

    /// Compares the value. Fails if the key is absent.
    pub fn value(range: KeyRange, op: CompareOp, value: impl Into<Vec<u8>>) -> Self {
        Self { range, op, with: With::Value(value.into()) }
    }

    /// Compares the key's lease; `None` means that the key has no lease or is absent.
    pub fn lease(range: KeyRange, op: CompareOp, lease: impl Into<Option<LeaseId>>) -> Self {
        Self { range, op, with: With::Lease(lease.into()) }
    }

    /// The key is absent.
    pub fn absent(key: impl Into<Vec<u8>>) -> Self {
        Self::version(KeyRange::key(key), CompareOp::Equal, 0)
    }

    /// The key exists.
    pub fn present(key: impl Into<Vec<u8>>) -> Self {
        Self::version(KeyRange::key(key), CompareOp::Greater, 0)
    }

    /// The key has not been written or deleted since it was read.
    #[must_use]
    pub fn unchanged(kv: &KeyValue) -> Self {
        Self::mod_revision(KeyRange::key(kv.key.as_slice()), CompareOp::Equal, kv.mod_revision)
    }

    pub(crate) fn into_etcd(self, namespace: &Namespace) -> Result<etcd_client::Compare, ErrorKind> {
        let (key, end) = to_wire(&self.range, namespace)?;
        let op = self.op;
        let compare = match self.with {
            With::Version(version) => etcd_client::Compare::version(key, op, version),
            With::CreateRevision(revision) => etcd_client::Compare::create_revision(key, op, revision),
            With::ModRevision(revision) => etcd_client::Compare::mod_revision(key, op, revision),
            With::Value(value) => etcd_client::Compare::value(key, op, value),
            With::Lease(lease) => etcd_client::Compare::lease(key, op, lease.map_or(0, LeaseId::get)),
        };
        Ok(compare.with_range(end))
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    /// Read.
    Get(Get),
    /// Write.
    Put(Put),
    /// Delete.
    Delete(Delete),
    /// A transaction in a transaction.
    Txn(Txn),
}

impl Op {
    fn into_etcd(self, namespace: &Namespace) -> Result<TxnOp, ErrorKind> {
        Ok(match self {
            Self::Get(get) => {
                let (key, options) = get.into_etcd(namespace)?;
                TxnOp::get(key, Some(options))
            }
            Self::Put(put) => {
                let (key, value, options) = put.into_etcd(namespace)?;
                TxnOp::put(key, value, Some(options))
            }
            Self::Delete(delete) => {
                let (key, options) = delete.into_etcd(namespace)?;
                TxnOp::delete(key, Some(options))
            }
            Self::Txn(txn) => TxnOp::txn(txn.into_etcd(namespace)?),
        })
    }
}

macro_rules! op_from {
    ($($request:ident),*) => {$(
        impl From<$request> for Op {
            fn from(request: $request) -> Self {
                Self::$request(request)
            }
        }
    )*};
}

op_from!(Get, Put, Delete, Txn);

/// The answer to a [`Txn`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxnResponse {
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// The answers to the operations that ran, in order.
    pub responses: Vec<OpResponse>,
    /// The revision of the transaction; the current revision if it wrote nothing.
    pub revision: i64,
}

impl TxnResponse {
    pub(crate) fn from_etcd(response: &etcd_client::TxnResponse, namespace: &Namespace) -> Self {
        let mut answer =
            Self { succeeded: response.succeeded(), responses: Vec::new(), revision: revision(response.header()) };
        let responses = response.op_responses().into_iter();
        answer.responses = responses.map(|response| OpResponse::from_etcd(response, namespace)).collect();
        answer.responses.iter_mut().for_each(|response| response.set_revision(answer.revision));
        answer
    }
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the key may not have been written"]
pub enum Swap {
    /// The key was written.
    Written {
        /// The revision of the write.
        revision: i64,
    },
    /// The condition did not hold, and nothing was written. This is the key as it is now; `None` if it is absent.
    Conflict(Option<KeyValue>),
}

/// The answer to one operation of a transaction. Its revision is the transaction's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResponse {
    /// To a [`Get`].
    Get(GetResponse),
    /// To a [`Put`].
    Put(PutResponse),
    /// To a [`Delete`].
    Delete(DeleteResponse),
    /// To a [`Txn`].
    Txn(TxnResponse),
}

impl OpResponse {
    fn from_etcd(response: TxnOpResponse, namespace: &Namespace) -> Self {
        match response {
            TxnOpResponse::Get(response) => Self::Get(GetResponse::from_etcd(response, namespace)),
            TxnOpResponse::Put(response) => Self::Put(PutResponse::from_etcd(response, namespace)),
            TxnOpResponse::Delete(response) => Self::Delete(DeleteResponse::from_etcd(response, namespace)),
            TxnOpResponse::Txn(response) => Self::Txn(TxnResponse::from_etcd(&response, namespace)),
        }
    }

    /// Only some versions of etcd fill the headers of single answers.
    fn set_revision(&mut self, revision: i64) {
        match self {
            Self::Get(response) => response.revision = revision,
            Self::Put(response) => response.revision = revision,
            Self::Delete(response) => response.revision = revision,
            Self::Txn(response) => {
                response.revision = revision;
                response.responses.iter_mut().for_each(|response| response.set_revision(revision));
            }
        }
    }
}
