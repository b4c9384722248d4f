//! Writes.

use etcd_client::PutOptions;

use super::{KeyValue, empty_key, revision};
use crate::client::error::ErrorKind;
use crate::client::lease_id::LeaseId;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A write of one key.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Put {
    pub(crate) key: Vec<u8>,
    value: Vec<u8>,
    options: PutOptions,
}

impl Put {
    /// Writes a value to a key. The key loses its lease.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), options: PutOptions::new() }
    }

    /// Writes a key again with its present value. The key must exist.
    pub fn touch(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Vec::new(), options: PutOptions::new().with_ignore_value() }
    }

    /// Gives the key this lease: etcd deletes the key when the lease ends.
    pub fn lease(mut self, lease: impl Into<Option<LeaseId>>) -> Self {
        self.options = self.options.with_lease(lease.into().map_or(0, LeaseId::get));
        self
    }

    /// Keeps the key's present lease. The key must exist.
    pub fn keep_lease(mut self) -> Self {
        self.options = self.options.with_ignore_lease();
        self
    }

    /// Returns the key's previous value in [`PutResponse::previous`].
    pub fn previous(mut self) -> Self {
        self.options = self.options.with_prev_key();
        self
    }

    pub(crate) fn range(&self) -> KeyRange {
        KeyRange::key(self.key.as_slice())
    }

    /// Key, value and options for etcd-client.
    pub(crate) fn into_etcd(self, namespace: &Namespace) -> Result<(Vec<u8>, Vec<u8>, PutOptions), ErrorKind> {
        let key = namespace.to_full_key(&self.key).ok_or_else(empty_key)?;
        Ok((key, self.value, self.options))
    }
}

/// The answer to a [`Put`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutResponse {
    /// The key before the write, if requested by [`Put::previous`] and if the key existed.
    pub previous: Option<KeyValue>,
    /// The revision of the write.
    pub revision: i64,
}

impl PutResponse {
    pub(crate) fn from_etcd(mut response: etcd_client::PutResponse, namespace: &Namespace) -> Self {
        Self {
            previous: response.take_prev_key().and_then(|kv| KeyValue::from_etcd(kv, namespace)),
            revision: revision(response.header()),
        }
    }
}
