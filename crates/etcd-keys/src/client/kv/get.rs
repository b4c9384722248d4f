//! Reads in one request.

use etcd_client::{GetOptions, SortOrder, SortTarget};

use super::{KeyValue, revision, to_wire};
use crate::client::error::ErrorKind;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A read of one key or a range, in one answer. For large ranges use [`Keys::pages`](crate::Keys::pages).
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Get {
    pub(crate) range: KeyRange,
    pub(crate) revision: i64,
    options: GetOptions,
}

impl Get {
    /// Reads one key, at the current revision.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self::range(KeyRange::key(key))
    }

    /// Reads a range, at the current revision.
    pub fn range(range: KeyRange) -> Self {
        Self { range, revision: 0, options: GetOptions::new() }
    }

    /// Reads every key that begins with a prefix. The empty prefix means the whole namespace.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self::range(KeyRange::prefix(prefix))
    }

    /// Returns at most this many keys; 0 means no limit. etcd still walks all keys of the range to count them.
    pub fn limit(mut self, limit: i64) -> Self {
        self.options = self.options.with_limit(limit);
        self
    }

    /// Reads at this revision.
    pub fn revision(mut self, revision: i64) -> Self {
        self.revision = revision;
        self.options = self.options.with_revision(revision);
        self
    }

    /// Returns no values. etcd 3.7 then returns no leases either.
    pub fn keys_only(mut self) -> Self {
        self.options = self.options.with_keys_only();
        self
    }

    /// Returns only the number of keys.
    pub fn count_only(mut self) -> Self {
        self.options = self.options.with_count_only();
        self
    }

    /// Sorts the keys. The default is by key, ascending. For any other order, etcd reads the whole range before it applies
    /// the limit.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.options = self.options.with_sort(target, order);
        self
    }

    /// Lets the member answer from its own data, without asking the leader: faster, but the data may be out of date.
    pub fn serializable(mut self) -> Self {
        self.options = self.options.with_serializable();
        self
    }

    /// Only keys last written at this revision or later. The count ignores it.
    pub fn min_mod_revision(mut self, revision: i64) -> Self {
        self.options = self.options.with_min_mod_revision(revision);
        self
    }

    /// Only keys last written at this revision or before. The count ignores it.
    pub fn max_mod_revision(mut self, revision: i64) -> Self {
        self.options = self.options.with_max_mod_revision(revision);
        self
    }

    /// Only keys created at this revision or later. The count ignores it.
    pub fn min_create_revision(mut self, revision: i64) -> Self {
        self.options = self.options.with_min_create_revision(revision);
        self
    }

    /// Only keys created at this revision or before. The count ignores it.
    pub fn max_create_revision(mut self, revision: i64) -> Self {
        self.options = self.options.with_max_create_revision(revision);
        self
    }

    /// Key and options for etcd-client.
    pub(crate) fn into_etcd(self, namespace: &Namespace) -> Result<(Vec<u8>, GetOptions), ErrorKind> {
        let (key, end) = to_wire(&self.range, namespace)?;
        Ok((key, self.options.with_range(end)))
    }
}

/// The answer to a [`Get`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetResponse {
    /// The keys, in order.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut keys off.
    pub more: bool,
    /// The number of keys in the range. Ignores the limit.
    pub count: i64,
    /// The keyspace's newest revision at the time of the answer, also if an older revision was read. To follow later
    /// changes, watch from the revision after it.
    pub revision: i64,
}

impl GetResponse {
    pub(crate) fn from_etcd(mut response: etcd_client::GetResponse, namespace: &Namespace) -> Self {
        let kvs = response.take_kvs().into_iter();
        Self {
            kvs: kvs.filter_map(|kv| KeyValue::from_etcd(kv, namespace)).collect(),
            more: response.more(),
            count: response.count(),
            revision: revision(response.header()),
        }
    }
}
