//! The leases that a connection was granted and has not revoked. Sends no requests.

use std::collections::BTreeSet;

use crate::client::lease_id::LeaseId;

/// How many leases are remembered before etcd is asked which of them still live.
const MANY: usize = 64;

/// Leases that were granted here. Those that run out say nothing of it: from time to time etcd is asked which live.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) ids: BTreeSet<LeaseId>,
    /// So many are too many to go without asking.
    pub(crate) many: usize,
}

impl Default for Granted {
    fn default() -> Self {
        Self { ids: BTreeSet::new(), many: MANY }
    }
}

impl Granted {
    /// Forgets those that do not live; asks again when twice as many are known as live.
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
    fn what_ran_out_is_forgotten_and_what_came_meanwhile_is_not() {
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
