//! Events: borrowed from the message that brought them, or owned.

use etcd_client::{EventType, WatchResponse};

use crate::bulk::pages::Entry;
use crate::client::kv::KeyValue;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was deleted, or its lease ran out.
    Delete,
}

/// An event to keep, in etcd's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it is now. After a deletion only `key` and `mod_revision` are set: the revision of the deletion, or,
    /// of a deletion that was only found out, the revision at which it was.
    pub kv: KeyValue,
    /// The key as it was before, where that was asked for, the key was there, and that revision is not compacted.
    pub prev_kv: Option<KeyValue>,
    /// Whether the event was not seen but found out after a gap: there may have been more.
    pub is_difference: bool,
}

impl Event {
    pub(super) fn found(entry: Entry<'_>) -> Self {
        Self { kind: EventKind::Put, kv: entry.to_owned(), prev_kv: None, is_difference: true }
    }

    pub(super) fn missing(key: Vec<u8>, revision: i64) -> Self {
        let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
        Self { kind: EventKind::Delete, kv, prev_kv: None, is_difference: true }
    }
}

/// An event within its message.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    kind: EventKind,
    kv: Entry<'a>,
    prev_kv: Option<Entry<'a>>,
}

impl<'a> EventRef<'a> {
    /// Without a key it is not an event; etcd sends none of that kind.
    fn new(event: &'a etcd_client::Event, prefix: usize) -> Option<Self> {
        Some(Self {
            kind: if event.event_type() == EventType::Delete { EventKind::Delete } else { EventKind::Put },
            kv: Entry::new(event.kv()?, prefix),
            prev_kv: event.prev_kv().map(|kv| Entry::new(kv, prefix)),
        })
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The key as it is now; see [`Event::kv`].
    #[must_use]
    pub fn kv(&self) -> Entry<'a> {
        self.kv
    }

    /// The key as it was before; see [`Event::prev_kv`].
    #[must_use]
    pub fn prev_kv(&self) -> Option<Entry<'a>> {
        self.prev_kv
    }

    /// The same, to keep.
    #[must_use]
    pub fn to_owned(&self) -> Event {
        Event {
            kind: self.kind,
            kv: self.kv.to_owned(),
            prev_kv: self.prev_kv.map(|kv| kv.to_owned()),
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
