//! Events: borrowed from the message that brought them, or owned.

use etcd_client::{EventType, WatchResponse};

use crate::bulk::pages::Entry;
use crate::client::kv::KeyValue;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was created or changed.
    Put,
    /// The key was deleted, or its lease expired.
    Delete,
}

/// An owned event, in etcd's own form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key after the event. After a deletion only `key` and `mod_revision` are set. `mod_revision` is then the
    /// revision of the deletion, or, if [`Event::is_difference`], the revision at which the deletion was noticed.
    pub kv: KeyValue,
    /// The key before the event: if [`Watch::previous_values`](super::Watch::previous_values) was set, the key existed,
    /// and the revision is not compacted.
    pub prev_kv: Option<KeyValue>,
    /// Whether the event was computed after a gap, not received. There may have been more events.
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
    /// `None` without a key, which etcd does not send.
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

    /// The key after the event; see [`Event::kv`].
    #[must_use]
    pub fn kv(&self) -> Entry<'a> {
        self.kv
    }

    /// The key before the event; see [`Event::prev_kv`].
    #[must_use]
    pub fn prev_kv(&self) -> Option<Entry<'a>> {
        self.prev_kv
    }

    /// An owned copy.
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

/// The events of one message, without those that were delivered before.
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

    /// The same events, with a prefix of this many bytes cut off each key.
    pub(super) fn below(self, prefix: usize) -> Self {
        Self { prefix, ..self }
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        self.response.events().iter().skip(self.skip).filter_map(|event| EventRef::new(event, self.prefix))
    }

    /// The number of events; never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.response.events().len().saturating_sub(self.skip)
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
