//! The keys of one namespace. All operations are relative to its prefix, and no request reaches a key outside of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::granted::Granted;
use crate::client::kv::{
    Compare, Delete, DeleteResponse, Get, GetResponse, KeyValue, OpResponse, Put, PutResponse, Swap, Txn, TxnResponse,
    empty_key, revision,
};
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;
use crate::client::{compaction, write};

/// The keys of a namespace. Opening, cloning and dropping it send no request.
///
/// Keys in requests and answers are relative to the namespace. Errors have the full names.
#[derive(Clone)]
pub struct Keys {
    connection: Connection,
    namespace: Namespace,
    /// Leases that this client and its clones granted, as far as they are not known to have ended.
    granted: Arc<Mutex<Granted>>,
}

impl Connection {
    /// The keys below a prefix; see [`Namespace`] for the rules of a prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty prefix: all keys are [`Connection::all_keys`].
    pub fn keys(&self, prefix: impl AsRef<[u8]>) -> Result<Keys, Error> {
        if prefix.as_ref().is_empty() {
            let why = "the prefix is empty, which would mean all keys".to_owned();
            return Err(self.error(Operation::OpenNamespace, ErrorKind::Invalid(why)));
        }
        Ok(self.keys_of(Namespace::new(prefix)))
    }

    /// All keys of the cluster, by their full names.
    #[must_use]
    pub fn all_keys(&self) -> Keys {
        self.keys_of(Namespace::new(""))
    }

    fn keys_of(&self, namespace: Namespace) -> Keys {
        Keys { connection: self.clone(), namespace, granted: Arc::default() }
    }
}

impl Keys {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A namespace within this one. A lease that is granted through it belongs to it, not to this one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty prefix.
    pub fn child(&self, prefix: impl AsRef<[u8]>) -> Result<Self, Error> {
        if prefix.as_ref().is_empty() {
            let why = format!("the prefix in `{}` is empty", self.namespace);
            return Err(self.connection.error(Operation::OpenNamespace, ErrorKind::Invalid(why)));
        }
        Ok(self.connection.keys_of(self.namespace.child(prefix)))
    }

    /// Reads a key; `None` if it does not exist. [`Get`] has more options, and its answer has the revision.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<KeyValue>, Error> {
        let found = self.send(Get::key(key)).await?;
        Ok(found.kvs.into_iter().next())
    }

    /// Reads a range in one answer. For large ranges use [`Keys::pages`].
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn range(&self, range: KeyRange) -> Result<GetResponse, Error> {
        self.send(Get::range(range)).await
    }

    /// Reads all keys that begin with a prefix, in one answer. The empty prefix means the whole namespace.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn prefix(&self, prefix: impl Into<Vec<u8>>) -> Result<GetResponse, Error> {
        self.send(Get::prefix(prefix)).await
    }

    /// The number of keys in a range.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn count(&self, range: KeyRange) -> Result<i64, Error> {
        Ok(self.send(Get::range(range).count_only()).await?.count)
    }

    /// Writes a key.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<PutResponse, Error> {
        self.send(Put::new(key, value)).await
    }

    /// Writes a key only if it does not exist.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn put_if_absent(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<Swap, Error> {
        let key = key.into();
        self.swap(Compare::absent(key.as_slice()), Put::new(key, value)).await
    }

    /// Writes a new value to a key only if nobody has written or deleted the key since it was read. Its lease stays.
    ///
    /// ```no_run
    /// # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
    /// use etcd_keys::kv::Swap;
    ///
    /// let mut found = keys.get("visits").await?;
    /// while let Some(visits) = found {
    ///     let next = visits.json::<u64>().unwrap_or(0) + 1;
    ///     match keys.compare_and_swap(&visits, next.to_string()).await? {
    ///         Swap::Written { .. } => break,
    ///         Swap::Conflict(now) => found = now,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn compare_and_swap(&self, read: &KeyValue, value: impl Into<Vec<u8>>) -> Result<Swap, Error> {
        self.swap(Compare::unchanged(read), Put::new(read.key.as_slice(), value).keep_lease()).await
    }

    async fn swap(&self, compare: Compare, put: Put) -> Result<Swap, Error> {
        let read = Get::key(put.key.as_slice());
        let answer = self.send(Txn::new().when(compare).then(put).or_else(read)).await?;
        Ok(match answer.responses.into_iter().next() {
            Some(OpResponse::Get(found)) => Swap::Conflict(found.kvs.into_iter().next()),
            _ => Swap::Written { revision: answer.revision },
        })
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn delete(&self, key: impl Into<Vec<u8>>) -> Result<DeleteResponse, Error> {
        self.send(Delete::key(key)).await
    }

    /// Deletes a range in one request; see [`Delete`]. For large ranges use [`Keys::delete_in_chunks`].
    ///
    /// # Errors
    /// As [`Keys::send`].
    pub async fn delete_range(&self, range: KeyRange) -> Result<DeleteResponse, Error> {
        self.send(Delete::range(range)).await
    }

    /// Sends a request: a [`Get`], [`Put`], [`Delete`] or [`Txn`] in one round trip, or a
    /// [`Lock`](crate::lock::Lock) or [`Campaign`](crate::election::Campaign).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty key; [`ErrorKind::Compacted`] and [`ErrorKind::FutureRevision`] for reads at a
    /// revision; [`ErrorKind::NoLease`], [`ErrorKind::NoKey`], [`ErrorKind::TooLarge`] and [`ErrorKind::NoSpace`] for writes;
    /// [`ErrorKind::Denied`], [`ErrorKind::Unreachable`] and [`ErrorKind::TimedOut`] for all. After one of the last two, a write
    /// may have been done.
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Response, Error> {
        request.send(self).await
    }

    /// A range with full names, for messages. Also for ranges that are not valid in the namespace.
    fn shown(&self, range: &KeyRange) -> KeyRange {
        let full = |key: &[u8]| [self.namespace.prefix(), key].concat();
        match range.end() {
            _ if range.is_single() => KeyRange::key(full(range.start())),
            Some(end) if range.is_empty() => KeyRange::between(full(range.start()), full(&end)),
            _ => self.namespace.to_full(range),
        }
    }

    /// An error of an operation before anything is sent.
    pub(crate) fn refuse(&self, operation: Operation, kind: ErrorKind) -> Error {
        self.connection.error(operation, kind)
    }

    /// The name of a lock or an election in etcd.
    pub(crate) fn full_name(&self, name: &[u8], operation: impl Fn(Vec<u8>) -> Operation) -> Result<Vec<u8>, Error> {
        let full = self.namespace.to_full_key(name);
        full.ok_or_else(|| self.refuse(operation(self.namespace.prefix().to_vec()), empty_key()))
    }

    /// Accesses the granted leases.
    pub(crate) fn granted<T>(&self, look: impl FnOnce(&mut Granted) -> T) -> T {
        look(&mut self.granted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys(`{}` at {})", self.namespace, self.connection.endpoint())
    }
}

/// A request for [`Keys::send`]: [`Get`], [`Put`], [`Delete`], [`Txn`], [`Lock`](crate::lock::Lock) and
/// [`Campaign`](crate::election::Campaign).
pub trait Request: sealed::Call {}

pub(crate) mod sealed {
    use super::{Error, Keys};

    pub trait Call {
        type Response;

        fn send(self, keys: &Keys) -> impl Future<Output = Result<Self::Response, Error>> + Send;
    }
}

impl Request for Get {}

impl sealed::Call for Get {
    type Response = GetResponse;

    async fn send(self, keys: &Keys) -> Result<GetResponse, Error> {
        let shown = keys.shown(&self.range);
        let (requested, operation) = (self.revision, || Operation::Read(shown.clone()));
        let (key, options) = self.into_etcd(&keys.namespace).map_err(|kind| keys.refuse(operation(), kind))?;
        match keys.connection.read(operation, key, options).await {
            Ok(response) => Ok(GetResponse::from_etcd(response, &keys.namespace)),
            Err(error) => Err(compaction::with_revisions(&keys.connection, requested, error).await),
        }
    }
}

impl Request for Put {}

impl sealed::Call for Put {
    type Response = PutResponse;

    async fn send(self, keys: &Keys) -> Result<PutResponse, Error> {
        let shown = keys.shown(&self.range());
        let operation = || Operation::Write(shown.clone());
        let (key, value, options) = self.into_etcd(&keys.namespace).map_err(|kind| keys.refuse(operation(), kind))?;
        let put = || async { keys.connection.kv().put(key.clone(), value.clone(), Some(options.clone())).await };
        let response = keys
            .connection
            .write(keys.connection.call_again(operation, put), |response| Some(revision(response.header())));
        Ok(PutResponse::from_etcd(response.await?, &keys.namespace))
    }
}

impl Request for Delete {}

impl sealed::Call for Delete {
    type Response = DeleteResponse;

    async fn send(self, keys: &Keys) -> Result<DeleteResponse, Error> {
        let shown = keys.shown(&self.range);
        let operation = || Operation::Delete(shown.clone());
        let (key, options) = self.into_etcd(&keys.namespace).map_err(|kind| keys.refuse(operation(), kind))?;
        let delete = || async { keys.connection.kv().delete(key.clone(), Some(options.clone())).await };
        let written =
            |response: &etcd_client::DeleteResponse| (response.deleted() > 0).then(|| revision(response.header()));
        let response = keys.connection.write(keys.connection.call_again(operation, delete), written).await?;
        Ok(DeleteResponse::from_etcd(response, &keys.namespace))
    }
}

impl Request for Txn {}

impl sealed::Call for Txn {
    type Response = TxnResponse;

    async fn send(self, keys: &Keys) -> Result<TxnResponse, Error> {
        let first = self.first_range().map(|range| keys.shown(&range));
        let operation = || first.clone().map_or(Operation::Commit, Operation::CommitOf);
        let (oldest, newest) = self.revisions();
        let txn = self.into_etcd(&keys.namespace).map_err(|kind| keys.refuse(operation(), kind))?;
        let commit = || async { keys.connection.kv().txn(txn.clone()).await };
        let answer = async {
            let response = keys.connection.call_again(operation, commit).await?;
            Ok(TxnResponse::from_etcd(&response, &keys.namespace))
        };
        match keys.connection.write(answer, write::revision_of_txn).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let requested = if matches!(error.kind, ErrorKind::FutureRevision(_)) { newest } else { oldest };
                Err(compaction::with_revisions(&keys.connection, requested, error).await)
            }
        }
    }
}
