//! Requests for keys, and their answers. A request is sent alone or in a transaction, in any namespace. Keys are relative
//! to the namespace. This module translates to and from etcd-client's types, and sends nothing.

mod delete;
mod get;
mod put;
mod txn;

use std::str::Utf8Error;

pub use etcd_client::{CompareOp, SortOrder, SortTarget};
use serde::de::DeserializeOwned;

pub use self::delete::{Delete, DeleteResponse};
pub use self::get::{Get, GetResponse};
pub use self::put::{Put, PutResponse};
pub use self::txn::{Compare, Op, OpResponse, Swap, Txn, TxnResponse};
use crate::client::error::ErrorKind;
use crate::client::lease_id::LeaseId;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A key with its value and metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyValue {
    /// The key, without the namespace's prefix.
    pub key: Vec<u8>,
    /// The value; empty if only keys were requested.
    pub value: Vec<u8>,
    /// The revision that created the key after it was last deleted.
    pub create_revision: i64,
    /// The revision that last wrote the key.
    pub mod_revision: i64,
    /// The number of writes since the key was created; 1 at first.
    pub version: i64,
    /// The key's lease.
    pub lease: Option<LeaseId>,
}

impl KeyValue {
    /// The key as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn key_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.key)
    }

    /// The value as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn value_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.value)
    }

    /// The value, parsed as JSON.
    ///
    /// # Errors
    /// If the value is not valid JSON for a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.value)
    }

    /// `None` if the key is not in the namespace.
    pub(crate) fn from_etcd(kv: etcd_client::KeyValue, namespace: &Namespace) -> Option<Self> {
        namespace.to_relative(kv.key())?;
        Some(Self::below(namespace.prefix().len(), kv))
    }

    /// Cuts a prefix of `prefix` bytes off the key, in place.
    pub(crate) fn below(prefix: usize, kv: etcd_client::KeyValue) -> Self {
        let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
        let (version, lease) = (kv.version(), LeaseId::new(kv.lease()));
        let (mut key, value) = kv.into_key_value();
        key.drain(..prefix.min(key.len()));
        Self { key, value, create_revision, mod_revision, version, lease }
    }
}

/// The header's revision; 0 without a header, which etcd always sends.
pub(crate) fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}

/// The range of a request on the wire.
///
/// # Errors
/// [`ErrorKind::Invalid`] for the empty key.
fn to_wire(range: &KeyRange, namespace: &Namespace) -> Result<(Vec<u8>, Vec<u8>), ErrorKind> {
    if range.is_single() && range.start().is_empty() {
        return Err(empty_key());
    }
    Ok(namespace.to_full(range).to_wire())
}

/// The error for an empty key, with etcd's message.
pub(crate) fn empty_key() -> ErrorKind {
    ErrorKind::Invalid("key is not provided".to_owned())
}
