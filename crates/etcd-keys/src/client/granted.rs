//! The leases that a client was granted and has not revoked. Sends no requests.

use std::collections::BTreeSet;

use crate::client::lease_id::LeaseId;

/// How many leases to remember before asking etcd which of them are still alive.
const MANY: usize = 64;

/// Leases that were granted here. etcd does not report expired leases, so it is asked from time to time which are alive.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) ids: BTreeSet<LeaseId>,
    /// Ask etcd when this many are known.
    pub(crate) many: usize,
}

impl Default for Granted {
    fn default() -> Self {
        Self { ids: BTreeSet::new(), many: MANY }
    }
}

impl Granted {
    /// Forgets expired leases. The next question to etcd comes when twice as many leases are known as are alive now.
    pub(crate) fn keep(&mut self, known: &BTreeSet<LeaseId>, living: &BTreeSet<LeaseId>) {
        self.ids.retain(|id| living.contains(id) || !known.contains(id));
        self.many = MANY.max(self.ids.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = i64>) -> BTreeSet<LeaseId> {
        ids.into_iter().filter_map(LeaseId::new).collect()
    }

    #[test]
    fn expired_leases_are_forgotten_and_new_ones_are_not() {
        let mut granted = Granted { ids: ids(1..=100), many: MANY };
        let known = granted.ids.clone();
        granted.ids.extend(ids([1_000])); // while etcd was asked
        granted.keep(&known, &ids((91..=100).chain([5_000])));
        assert_eq!((granted.ids, granted.many), (ids((91..=100).chain([1_000])), MANY));
        let mut all_live = Granted { ids: ids(1..=100), many: MANY };
        all_live.keep(&known, &known);
        assert_eq!(all_live.many, 200);
    }
}
