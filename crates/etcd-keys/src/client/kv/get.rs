//! Reading.

use etcd_client::{GetOptions, SortOrder, SortTarget};

use super::{KeyValue, revision, to_wire};
use crate::client::error::ErrorKind;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A read of one key or a range, in one answer. What may be large is better read in pages.
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

    /// Reads every key that begins with a prefix; of the empty one: all of the namespace.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self::range(KeyRange::prefix(prefix))
    }

    /// At most so many keys; 0: no limit. Etcd walks all that remain all the same, to count them.
    pub fn limit(mut self, limit: i64) -> Self {
        self.options = self.options.with_limit(limit);
        self
    }

    /// As it was at this revision.
    pub fn revision(mut self, revision: i64) -> Self {
        self.revision = revision;
        self.options = self.options.with_revision(revision);
        self
    }

    /// Without the values. Etcd 3.7 then tells no leases either: they are 0.
    pub fn keys_only(mut self) -> Self {
        self.options = self.options.with_keys_only();
        self
    }

    /// Only how many there are.
    pub fn count_only(mut self) -> Self {
        self.options = self.options.with_count_only();
        self
    }

    /// In this order; by key, ascending, unless said otherwise. Any other order makes etcd fetch the whole
    /// range before it applies the limit.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.options = self.options.with_sort(target, order);
        self
    }

    /// What the member knows by itself: faster, and perhaps stale.
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

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GetResponse {
    /// What was found, in order.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left some out.
    pub more: bool,
    /// How many keys the range has, whatever the limit.
    pub count: i64,
    /// The keyspace's revision at the time, also where an older one was read: watch from the next one.
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
