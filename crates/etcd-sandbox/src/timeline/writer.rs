//! Who made a change, as far as the sandbox's connection can tell: etcd does not record it.

use etcd_keys::watch::{Event, EventKind};
use etcd_keys::{LeaseId, OwnRevisions};

/// Who made a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    OwnConnection,
    AnotherConnection,
    /// Another connection deleted a key with a lease, or the lease ended.
    AnotherConnectionOrLease,
    Unknown,
}

impl Writer {
    /// The writer of a change to a key that has, or had, this lease.
    pub(super) fn of(event: &Event, lease: Option<LeaseId>, own: Option<&OwnRevisions>) -> Self {
        match own.and_then(|own| own.contain(event.kv.mod_revision)) {
            Some(true) => Self::OwnConnection,
            Some(false) if event.kind == EventKind::Delete && lease.is_some() => Self::AnotherConnectionOrLease,
            Some(false) => Self::AnotherConnection,
            None => Self::Unknown,
        }
    }

    pub(super) fn is_another(self) -> bool {
        matches!(self, Self::AnotherConnection | Self::AnotherConnectionOrLease)
    }
}
