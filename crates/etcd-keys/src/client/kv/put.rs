//! Writing.

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
    /// Writes a value to a key, and takes the key off its lease.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), options: PutOptions::new() }
    }

    /// Touches a key: it must be there, and its value stays.
    pub fn touch(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Vec::new(), options: PutOptions::new().with_ignore_value() }
    }

    /// The key goes when this lease ends.
    pub fn lease(mut self, lease: impl Into<Option<LeaseId>>) -> Self {
        self.options = self.options.with_lease(lease.into().map_or(0, LeaseId::get));
        self
    }

    /// The key must be there, and its lease stays.
    pub fn keep_lease(mut self) -> Self {
        self.options = self.options.with_ignore_lease();
        self
    }

    /// Asks for what was there before.
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

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutResponse {
    /// What was there before, where it was asked for and there was something.
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
