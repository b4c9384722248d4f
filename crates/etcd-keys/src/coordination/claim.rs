//! What locks and elections have in common: a claim, which is a key on a lease. A claim always ends: by release, by drop,
//! or with its lease if the process is killed.

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

/// The default time to live of a claim's own lease: how long others wait if the holder is killed.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// A claim that is waiting or has won.
#[derive(Debug)]
pub(crate) struct Claim {
    keys: Keys,
    lease: Lease,
    /// `None`: the caller owns the lease and keeps it alive.
    keeper: Option<Keeper>,
    /// The full name of the key.
    key: Vec<u8>,
    /// The revision that created the key; 0 while the claim waits. Successive claims on one lease have the same key and
    /// differ only in this revision.
    created: i64,
    open: bool,
}

/// How to make a claim.
#[derive(Clone, Debug)]
pub(crate) struct ClaimOptions {
    pub(crate) lease: Option<LeaseId>,
    pub(crate) ttl: Duration,
    pub(crate) within: Option<Duration>,
}

impl ClaimOptions {
    pub(crate) const DEFAULT: Self = Self { lease: None, ttl: TTL, within: None };
}

impl Claim {
    /// Prepares a claim. From now on, dropping it gives it up, also while it waits.
    pub(crate) async fn prepare(keys: &Keys, full_name: &[u8], options: &ClaimOptions) -> Result<Self, Error> {
        let (lease, keeper) = match options.lease {
            Some(id) => (keys.lease(id), None),
            None => {
                let sent = clock::now();
                let (lease, ttl) = keys.grant_with_ttl(options.ttl).await?;
                (lease.clone(), Some(Keeper::start(lease, sent, ttl)))
            }
        };
        // As etcd's `client/v3/concurrency` names it: name, slash, the lease in hexadecimal.
        let id = lease.id().get();
        let suffix = format!("/{}{:x}", if id < 0 { "-" } else { "" }, id.unsigned_abs());
        let key = [full_name, suffix.as_bytes()].concat();
        Ok(Self { keys: keys.clone(), lease, keeper, key, created: 0, open: true })
    }

    /// Waits until the claim is won. `call` returns the revision that created the key (0 if the key is already gone) and
    /// an answer of its own. If the claim is not won, it is given up before this returns.
    pub(crate) async fn win<T>(
        mut self,
        options: &ClaimOptions,
        operation: impl Fn() -> Operation,
        call: impl Future<Output = Result<(i64, T), etcd_client::Error>>,
    ) -> Result<(Self, T), Error> {
        let connection = self.keys.connection().clone();
        let within = options.within.unwrap_or(connection.request_timeout());
        // A claim that is not won may have written its key, and the answer does not tell the revision.
        let write = connection.begin_write();
        match connection.call_within(within, &operation, call).await {
            Ok((0, _)) => Err(connection.error(operation(), ErrorKind::NoLease)),
            Ok((created, answer)) => {
                write.wrote(Some(created));
                self.created = created;
                Ok((self, answer))
            }
            Err(error) => {
                write.failed(&error);
                let given_up = self.release().await;
                // An error by our own timeout has no source. The server answers, because it accepted that the claim was given up.
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

    /// Whether the claim is known to hold. A caller's own lease is not monitored: always true.
    pub(crate) fn is_certain(&self) -> bool {
        self.keeper.as_ref().is_none_or(Keeper::is_certain)
    }

    pub(crate) async fn lost(&self) {
        match &self.keeper {
            Some(keeper) => keeper.lost().await,
            None => std::future::pending().await,
        }
    }

    /// A comparison for transactions: the claim still holds.
    pub(crate) fn held_compare(&self) -> Compare {
        held_compare(self.key(), self.created)
    }

    /// Gives the claim up. When this returns, the next in line can have it. If this future is dropped, the claim is given
    /// up all the same.
    pub(crate) async fn release(mut self) -> Result<(), Error> {
        let (connection, key) = (self.keys.connection().clone(), self.key.clone());
        let failed = |kind| connection.error(Operation::Delete(KeyRange::key(key)), kind);
        // The task has its own timeout, but its runtime may have stopped running tasks.
        match tokio::time::timeout(connection.request_timeout() * 2, self.give_up()).await {
            Ok(Ok(given_up)) => given_up,
            Ok(Err(_)) => Err(failed(ErrorKind::Unreachable)),
            Err(_) => Err(failed(ErrorKind::TimedOut)),
        }
    }

    /// Starts a task that gives the claim up. Dropping the handle does not stop the task.
    fn give_up(&mut self) -> JoinHandle<Result<(), Error>> {
        self.open = false;
        let (keys, lease, keeper, key, created) =
            (self.keys.clone(), self.lease.clone(), self.keeper.take(), self.key().to_vec(), self.created);
        let runtime = self.keys.connection().runtime();
        runtime.spawn(async move { give_up(&keys, &lease, keeper, &key, created).await })
    }
}

/// The key was created at this revision: a later claim on the same lease does not match.
fn held_compare(key: &[u8], created: i64) -> Compare {
    Compare::create_revision(KeyRange::key(key), CompareOp::Equal, created)
}

/// Revokes the claim's own lease, which deletes the key. With a caller's lease, deletes only the key, unless the key
/// belongs to a later claim.
async fn give_up(keys: &Keys, lease: &Lease, keeper: Option<Keeper>, key: &[u8], created: i64) -> Result<(), Error> {
    if keeper.is_none() {
        if created == 0 {
            return keys.delete(key).await.map(drop);
        }
        return keys.send(Txn::new().when(held_compare(key, created)).then(Delete::key(key))).await.map(drop);
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
            // If this fails, the claim ends when its lease expires.
            drop(self.give_up());
        }
    }
}
