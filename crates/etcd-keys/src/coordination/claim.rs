//! What locks and elections have in common: a key on a lease that stands for a claim, ours to give up.
//! Whatever happens to the one who claims, the claim ends: by release, by drop, or with the lease.

use std::time::Duration;

use etcd_client::CompareOp;
use tokio::task::JoinHandle;

use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::kv::{Compare, Delete, Txn};
use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;
use crate::coordination::clock;
use crate::coordination::lease::{Keeper, Lease};

/// How long others wait for a claim whose holder was killed, if it has a lease of its own.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// A claim: waiting, or won.
#[derive(Debug)]
pub(crate) struct Claim {
    keys: Keys,
    lease: Lease,
    /// `None`: the lease is the caller's, who keeps it alive.
    keeper: Option<Keeper>,
    /// By its full name.
    key: Vec<u8>,
    /// The revision that created the key: claims of one lease one after the other have one key, and differ in this.
    /// 0 while it waits.
    created: i64,
    open: bool,
}

/// What makes a claim.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) lease: Option<LeaseId>,
    pub(crate) ttl: Duration,
    pub(crate) within: Option<Duration>,
}

impl Terms {
    pub(crate) const DEFAULT: Self = Self { lease: None, ttl: TTL, within: None };
}

impl Claim {
    /// Gets ready to claim: from here on, being dropped gives the claim up, also while it waits.
    pub(crate) async fn prepare(keys: &Keys, full_name: &[u8], terms: &Terms) -> Result<Self, Error> {
        let (lease, keeper) = match terms.lease {
            Some(id) => (keys.lease(id), None),
            None => {
                let asked = clock::now();
                let (lease, ttl) = keys.grant_with_ttl(terms.ttl).await?;
                (lease.clone(), Some(Keeper::start(lease, asked, ttl)))
            }
        };
        // As etcd's `client/v3/concurrency` names it: name, slash, the lease in hexadecimal.
        let id = lease.id().get();
        let place = format!("/{}{:x}", if id < 0 { "-" } else { "" }, id.unsigned_abs());
        let key = [full_name, place.as_bytes()].concat();
        Ok(Self { keys: keys.clone(), lease, keeper, key, created: 0, open: true })
    }

    /// Waits until the claim is won: `call` tells by which revision of its key, 0 if that is gone already, and
    /// something else. If it is not won, it is given up before this returns.
    pub(crate) async fn win<T>(
        mut self,
        terms: &Terms,
        operation: impl Fn() -> Operation,
        call: impl Future<Output = Result<(i64, T), etcd_client::Error>>,
    ) -> Result<(Self, T), Error> {
        let connection = self.keys.connection().clone();
        let within = terms.within.unwrap_or(connection.request_timeout());
        match connection.call_within(within, &operation, call).await {
            Ok((0, _)) => Err(connection.error(operation(), ErrorKind::NoLease)),
            Ok((created, answer)) => {
                self.created = created;
                Ok((self, answer))
            }
            Err(error) => {
                let given_up = self.release().await;
                // Our own deadline has no source. A server that takes our claim back is one that answers.
                let held = error.kind == ErrorKind::TimedOut && error.source.is_none() && given_up.is_ok();
                Err(if held { connection.error(operation(), ErrorKind::Held) } else { error })
            }
        }
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn full_key(&self) -> &[u8] {
        &self.key
    }

    /// The key, without the namespace's prefix.
    pub(crate) fn key(&self) -> &[u8] {
        self.keys.namespace().to_relative(&self.key).unwrap_or_default()
    }

    /// The revision that created the key.
    pub(crate) fn created(&self) -> i64 {
        self.created
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// As far as we know: the lease of a caller is not watched.
    pub(crate) fn is_certain(&self) -> bool {
        self.keeper.as_ref().is_none_or(Keeper::is_certain)
    }

    pub(crate) async fn lost(&self) {
        match &self.keeper {
            Some(keeper) => keeper.lost().await,
            None => std::future::pending().await,
        }
    }

    /// That the claim still stands, for transactions.
    pub(crate) fn stands(&self) -> Compare {
        stands(self.key(), self.created)
    }

    /// Gives the claim up. The next in line has it when this returns.
    /// Whoever stops waiting for that gives it up all the same.
    pub(crate) async fn release(mut self) -> Result<(), Error> {
        let (connection, key) = (self.keys.connection().clone(), self.key.clone());
        let failed = |kind| connection.error(Operation::Delete(KeyRange::key(key)), kind);
        // The task has a deadline itself; but its runtime may be one that nobody drives now.
        match tokio::time::timeout(connection.request_timeout() * 2, self.give_up()).await {
            Ok(Ok(given_up)) => given_up,
            Ok(Err(_)) => Err(failed(ErrorKind::Unreachable)),
            Err(_) => Err(failed(ErrorKind::TimedOut)),
        }
    }

    /// A task that does so, and that nobody can stop.
    fn give_up(&mut self) -> JoinHandle<Result<(), Error>> {
        self.open = false;
        let (keys, lease, keeper, key, created) =
            (self.keys.clone(), self.lease.clone(), self.keeper.take(), self.key().to_vec(), self.created);
        let runtime = self.keys.connection().runtime();
        runtime.spawn(async move { give_up(&keys, &lease, keeper, &key, created).await })
    }
}

/// That the key is the one that this revision created, and no later one on the same lease.
fn stands(key: &[u8], created: i64) -> Compare {
    Compare::create_revision(KeyRange::key(key), CompareOp::Equal, created)
}

/// Ends the lease that is the claim's own, and with it the key; else just the key, unless it is a later claim's.
async fn give_up(keys: &Keys, lease: &Lease, keeper: Option<Keeper>, key: &[u8], created: i64) -> Result<(), Error> {
    if keeper.is_none() {
        if created == 0 {
            return keys.delete(key).await.map(drop);
        }
        return keys.send(Txn::new().when(stands(key, created)).then(Delete::key(key))).await.map(drop);
    }
    drop(keeper);
    match lease.revoke().await {
        Err(error) if error.kind != ErrorKind::NoLease => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            // If it fails, the lease runs out.
            drop(self.give_up());
        }
    }
}
