//! Records: values with their keys and revisions, raw and typed. The only place that knows JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::{Foreign, Key};

/// What an operation answers, and the revision of the whole store that it saw or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// The revision: of the write, if something was written, else of what was read.
    pub revision: i64,
}

impl<T> Answer<T> {
    pub(crate) fn map<U>(self, to: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: to(self.value), revision: self.revision }
    }
}

/// A record as it is in the store: raw, or, [decoded](Record::decode), typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T = Vec<u8>> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: T,
    /// The revision that created it.
    pub created: i64,
    /// The revision that wrote it last: what [`Expect::Revision`](crate::Expect::Revision) wants.
    pub revision: i64,
}

impl Record {
    pub(crate) fn from_etcd(kv: etcd_keys::KeyValue) -> Result<Self, Foreign> {
        Self::of(kv.key, kv.value, kv.create_revision, kv.mod_revision)
    }

    /// A record by its key in the namespace.
    pub(crate) fn of(key: Vec<u8>, value: Vec<u8>, created: i64, revision: i64) -> Result<Self, Foreign> {
        Ok(Self { key: Key::from_etcd(key, revision)?, value, created, revision })
    }

    /// The record with its value as a type.
    ///
    /// # Errors
    /// If the value is not that type in JSON. There is no default in its place.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Record<T>, DecodeError> {
        let Self { key, value, created, revision } = self;
        match serde_json::from_slice(&value) {
            Ok(value) => Ok(Record { key, value, created, revision }),
            Err(source) => Err(DecodeError { key, revision, source }),
        }
    }
}

impl Answer<Option<Record>> {
    /// The record, if there is one, with its value as a type.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn decode<T: DeserializeOwned>(self) -> Result<Answer<Option<Record<T>>>, DecodeError> {
        let value = self.value.map(Record::decode).transpose()?;
        Ok(Answer { value, revision: self.revision })
    }
}

impl Answer<Vec<Record>> {
    /// The records with their values as a type.
    ///
    /// # Errors
    /// As [`Record::decode`], of the first that cannot be decoded.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Answer<Vec<Record<T>>>, DecodeError> {
        let value = self.value.into_iter().map(Record::decode).collect::<Result<_, _>>()?;
        Ok(Answer { value, revision: self.revision })
    }
}

/// A value as JSON, for whatever writes one.
///
/// # Errors
/// If the type cannot be JSON: a map whose keys are no texts, say.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    serde_json::to_vec(value).map_err(EncodeError)
}

/// A value that cannot be JSON.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be encoded as JSON: {0}")]
pub struct EncodeError(#[source] serde_json::Error);

/// A record that is not what it was taken for.
#[derive(Debug, thiserror::Error)]
#[error("the record `{key}` of revision {revision} cannot be decoded: {source}")]
pub struct DecodeError {
    /// The record's key.
    pub key: Key,
    /// The revision that wrote it.
    pub revision: i64,
    /// What JSON or the type has against it.
    pub source: serde_json::Error,
}
