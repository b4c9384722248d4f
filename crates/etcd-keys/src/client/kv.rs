//! Requests to the keyspace and their answers, as values: sent alone or in a transaction, in any namespace.
//! Keys are the namespace's own on both sides. Knows how etcd-client spells them, and sends nothing.

mod delete;
mod get;
mod put;
mod txn;

pub use etcd_client::{CompareOp, SortOrder, SortTarget};

pub use self::delete::{Delete, DeleteResponse};
pub use self::get::{Get, GetResponse};
pub use self::put::{Put, PutResponse};
pub use self::txn::{Compare, Op, OpResponse, Txn, TxnResponse};
use crate::client::error::Kind;
use crate::client::namespace::Namespace;
use crate::client::range::KeyRange;

/// A key with its value, and etcd's account of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, without the namespace's prefix.
    pub key: Vec<u8>,
    /// The value; empty where only keys were asked for.
    pub value: Vec<u8>,
    /// The revision that created the key, since it was last deleted.
    pub create_revision: i64,
    /// The revision that wrote it last.
    pub mod_revision: i64,
    /// How many times it was written since it was created; 1 at first.
    pub version: i64,
    /// The lease that it goes with; 0: none.
    pub lease: i64,
}

impl KeyValue {
    /// `None`: the key is none of the namespace's.
    pub(crate) fn from_etcd(kv: etcd_client::KeyValue, namespace: &Namespace) -> Option<Self> {
        namespace.to_relative(kv.key())?;
        Some(Self::below(namespace.prefix().len(), kv))
    }

    /// A key that is known to begin with a prefix of so many bytes; it goes in place.
    pub(crate) fn below(prefix: usize, kv: etcd_client::KeyValue) -> Self {
        let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
        let (version, lease) = (kv.version(), kv.lease());
        let (mut key, value) = kv.into_key_value();
        key.drain(..prefix.min(key.len()));
        Self { key, value, create_revision, mod_revision, version, lease }
    }
}

/// The header's revision; 0 where there is no header, which etcd does not do.
pub(crate) fn revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}

/// The range of a request on the wire.
///
/// # Errors
/// [`Kind::Invalid`] for the empty key.
fn to_wire(range: &KeyRange, namespace: &Namespace) -> Result<(Vec<u8>, Vec<u8>), Kind> {
    if range.is_single() && range.start().is_empty() {
        return Err(empty_key());
    }
    Ok(namespace.to_full(range).to_wire())
}

/// In etcd's words.
pub(crate) fn empty_key() -> Kind {
    Kind::Invalid("key is not provided".to_owned())
}
