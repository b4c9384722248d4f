//! Events: borrowed from the message that brought them, or owned.

use etcd_client::{EventType, KeyValue, WatchResponse};

use crate::bulk::pages::Entry;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was created or changed.
    Put,
    /// It was deleted, or its lease ran out.
    Delete,
}

/// An event to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The key, without the namespace's prefix.
    pub key: Vec<u8>,
    /// The new value; empty for a deletion.
    pub value: Vec<u8>,
    /// The value before, where it was asked for, there was one, and it is not compacted.
    pub previous: Option<Vec<u8>>,
    /// The revision at which it happened; of a deletion that was only found out, the one at which it was.
    pub revision: i64,
    /// The revision at which the key was created; 0 for a deletion.
    pub created: i64,
    /// The key's lease; 0 for none.
    pub lease: i64,
    /// Whether it was not seen but found out after a gap: there may have been more.
    pub is_difference: bool,
}

impl Event {
    pub(super) fn found(entry: Entry<'_>) -> Self {
        Self {
            kind: Kind::Put,
            key: entry.key().to_vec(),
            value: entry.value().to_vec(),
            previous: None,
            revision: entry.mod_revision(),
            created: entry.create_revision(),
            lease: entry.lease(),
            is_difference: true,
        }
    }

    pub(super) fn missing(key: Vec<u8>, revision: i64) -> Self {
        Self {
            kind: Kind::Delete,
            key,
            value: Vec::new(),
            previous: None,
            revision,
            created: 0,
            lease: 0,
            is_difference: true,
        }
    }
}

/// An event within its message.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    event: &'a etcd_client::Event,
    entry: Entry<'a>,
}

impl<'a> EventRef<'a> {
    /// Without a key it is no event; etcd sends none of that kind.
    fn new(event: &'a etcd_client::Event, prefix: usize) -> Option<Self> {
        event.kv().map(|entry| Self { event, entry: Entry::new(entry, prefix) })
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.event.event_type() == EventType::Delete { Kind::Delete } else { Kind::Put }
    }

    /// The key, without the namespace's prefix.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.entry.key()
    }

    /// The new value; empty for a deletion.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.entry.value()
    }

    /// The value before, where it was asked for, there was one, and it is not compacted.
    #[must_use]
    pub fn previous(&self) -> Option<&'a [u8]> {
        self.event.prev_kv().map(KeyValue::value)
    }

    /// The revision at which it happened.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.entry.mod_revision()
    }

    /// The revision at which the key was created; 0 for a deletion.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.entry.create_revision()
    }

    /// The key's lease; 0 for none.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.entry.lease()
    }

    /// The same, to keep.
    #[must_use]
    pub fn to_owned(&self) -> Event {
        Event {
            kind: self.kind(),
            key: self.key().to_vec(),
            value: self.value().to_vec(),
            previous: self.previous().map(<[u8]>::to_vec),
            revision: self.revision(),
            created: self.created(),
            lease: self.lease(),
            is_difference: false,
        }
    }
}

/// The events of one message, or those of them that are new.
#[derive(Debug)]
pub struct Events {
    response: WatchResponse,
    skip: usize,
    /// How many bytes of each key are the namespace's prefix.
    prefix: usize,
}

impl Events {
    pub(super) fn new(response: WatchResponse, skip: usize) -> Self {
        Self { response, skip, prefix: 0 }
    }

    /// The same events, of keys by their names below a prefix of so many bytes.
    pub(super) fn below(self, prefix: usize) -> Self {
        Self { prefix, ..self }
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        self.response.events().iter().skip(self.skip).filter_map(|event| EventRef::new(event, self.prefix))
    }

    /// How many there are; never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.response.events().len().saturating_sub(self.skip)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
