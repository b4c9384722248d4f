//! Records: values with their keys and revisions, raw and typed. Only this module knows JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Failure};
use crate::key::Key;

/// The result of an operation, with the revision of the whole store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The result.
    pub value: T,
    /// The revision of the write if the operation wrote anything, else the revision of the read.
    pub revision: i64,
}

impl<T> Answer<T> {
    pub(crate) fn map<U>(self, to: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: to(self.value), revision: self.revision }
    }
}

/// A record of the store: raw, or typed once it is [decoded](Record::decode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T = Vec<u8>> {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: T,
    /// The revision that created the record.
    pub created: i64,
    /// The revision of the last write, for [`Expect::Revision`](crate::Expect::Revision).
    pub revision: i64,
}

impl Record {
    pub(crate) fn from_etcd(kv: etcd_keys::KeyValue) -> Result<Self, Failure> {
        let (created, revision) = (kv.create_revision, kv.mod_revision);
        Ok(Self { key: Key::from_etcd(kv.key, revision)?, value: kv.value, created, revision })
    }

    /// The record with its value as a type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRecord`] if the value is not that type in JSON. No default takes its place.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Record<T>, Error> {
        let Self { key, value, created, revision } = self;
        let value = decode(&value, &key, revision)?;
        Ok(Record { key, value, created, revision })
    }
}

impl Answer<Option<Record>> {
    /// The record, if there is one, with its value as a type.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn decode<T: DeserializeOwned>(self) -> Result<Answer<Option<Record<T>>>, Error> {
        let value = self.value.map(Record::decode).transpose()?;
        Ok(Answer { value, revision: self.revision })
    }
}

impl Answer<Vec<Record>> {
    /// The records with their values as a type.
    ///
    /// # Errors
    /// As [`Record::decode`], of the first that cannot be decoded.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Answer<Vec<Record<T>>>, Error> {
        let value = self.value.into_iter().map(Record::decode).collect::<Result<_, _>>()?;
        Ok(Answer { value, revision: self.revision })
    }
}

/// A value as JSON, to be written.
///
/// # Errors
/// [`ErrorKind::InvalidValue`] if JSON cannot express the value: a map whose keys are not texts, say.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| {
        let failure = Failure::from(ErrorKind::InvalidValue { reason: error.to_string() });
        Error::new("encode the value as JSON", failure.because(error))
    })
}

/// The value of a record, at its revision, as a type.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8], key: &Key, revision: i64) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| {
        let failure = Failure::from(ErrorKind::InvalidRecord { revision, reason: error.to_string() });
        Error::new(
            format_args!("decode the record `{key}` of revision {revision}"),
            failure.at(key.as_str()).because(error),
        )
    })
}
