//! Deletes in one request. Many keys are better deleted in chunks.

use etcd_client::DeleteOptions;

use super::{KeyValue, revision, to_wire};
use crate::client::error::ErrorKind;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A deletion of one key or a range, as one revision. Other clients wait until it is done: seconds for a million keys.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Delete {
    pub(crate) range: KeyRange,
    options: DeleteOptions,
}

impl Delete {
    /// Deletes one key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self::range(KeyRange::key(key))
    }

    /// Deletes a range.
    pub fn range(range: KeyRange) -> Self {
        Self { range, options: DeleteOptions::new() }
    }

    /// Deletes every key that begins with a prefix. The empty prefix means the whole namespace.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self::range(KeyRange::prefix(prefix))
    }

    /// Returns the deleted keys in [`DeleteResponse::previous`].
    pub fn previous(mut self) -> Self {
        self.options = self.options.with_prev_key();
        self
    }

    /// Key and options for etcd-client.
    pub(crate) fn into_etcd(self, namespace: &Namespace) -> Result<(Vec<u8>, DeleteOptions), ErrorKind> {
        let (key, end) = to_wire(&self.range, namespace)?;
        Ok((key, self.options.with_range(end)))
    }
}

/// The answer to a [`Delete`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteResponse {
    /// The number of deleted keys.
    pub deleted: i64,
    /// The deleted keys with their values, if requested by [`Delete::previous`].
    pub previous: Vec<KeyValue>,
    /// The revision of the deletion; the current revision if nothing was deleted.
    pub revision: i64,
}

impl DeleteResponse {
    pub(crate) fn from_etcd(mut response: etcd_client::DeleteResponse, namespace: &Namespace) -> Self {
        let previous = response.take_prev_kvs().into_iter();
        Self {
            deleted: response.deleted(),
            previous: previous.filter_map(|kv| KeyValue::from_etcd(kv, namespace)).collect(),
            revision: revision(response.header()),
        }
    }
}
