//! Which leases the tests of a run have left, and which locks they still hold. Looks only; what that means, the runner says.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_keys::{ErrorKind, LeaseId};

use crate::error::Error;
use crate::runs::run::Run;

/// How many leases are named.
const NAMED: usize = 5;
/// How many leases are looked up, one round trip each.
const LOOKED_UP: usize = 1000;

/// What is left in etcd when the tests of a run are over, beside keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// The number of leases that have keys of the run. Those of locks are not among them.
    pub leases: u64,
    /// The number of leases that have keys of a lock or an election of the run, whether they hold it or wait for it.
    pub locks: u64,
    /// The number of leases without keys that somebody was granted while the run was there.
    pub without_keys: u64,
    /// The first of them, at most five of each kind.
    pub named: Vec<LeftLease>,
}

/// A lease that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftLease {
    /// Its id.
    pub id: LeaseId,
    /// The time to live that it was granted.
    pub ttl: Duration,
    /// How many keys of the run it has.
    pub keys: u64,
    /// The first of these keys, relative to the run's prefix; for a lock the lock's name.
    pub key: Vec<u8>,
    /// Whether the key is that of a lock or an election.
    pub is_lock: bool,
}

impl Run {
    /// Looks up the leases of the cluster, without those that were there `before` the run, which
    /// [`leases`](etcd_keys::Connection::leases) tells. Of more than 1,000 leases only the first are looked up.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn leaks(&self, before: &BTreeSet<LeaseId>) -> Result<Leaks, Error> {
        let (keys, prefix) = (self.registry().connection().all_keys(), self.prefix());
        let now = self.registry().connection().leases().await?;
        let mut found = Leaks::default();
        for id in now.difference(before).take(LOOKED_UP) {
            match keys.lease(*id).remaining().await {
                Ok(lease) if lease.keys.is_empty() => found.add(LeftLease::of(*id, lease.granted, &[])),
                Ok(lease) => {
                    let below = |key: &Vec<u8>| Some(key.strip_prefix(prefix.as_bytes())?.to_vec());
                    let mut own: Vec<Vec<u8>> = lease.keys.iter().filter_map(below).collect();
                    // The run's heartbeat.
                    own.retain(|key| key != b".alive");
                    own.sort();
                    if !own.is_empty() {
                        found.add(LeftLease::of(*id, lease.granted, &own));
                    }
                }
                // It has just ended.
                Err(error) if error.kind == ErrorKind::NoLease => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

impl Leaks {
    fn add(&mut self, lease: LeftLease) {
        let count = match (lease.is_lock, lease.keys) {
            (true, _) => &mut self.locks,
            (false, 0) => &mut self.without_keys,
            (false, _) => &mut self.leases,
        };
        *count += 1;
        if *count <= NAMED as u64 {
            self.named.push(lease);
        }
    }
}

impl LeftLease {
    fn of(id: LeaseId, ttl: Duration, keys: &[Vec<u8>]) -> Self {
        // The keys of etcd's locks and elections end so.
        let end = format!("/{:x}", id.get());
        let lock = keys.iter().find_map(|key| key.strip_suffix(end.as_bytes()));
        let key = lock.map(<[u8]>::to_vec).or_else(|| keys.first().cloned()).unwrap_or_default();
        Self { id, ttl, keys: keys.len() as u64, key, is_lock: lock.is_some() }
    }
}
