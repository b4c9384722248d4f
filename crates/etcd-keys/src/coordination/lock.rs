//! Locks, by etcd's lock service: one holder at a time, in the order of the requests.

use std::time::Duration;

use etcd_client::LockOptions;

use crate::client::error::{Error, Operation};
use crate::client::keys::{Keys, Request, sealed};
use crate::client::kv::{Compare, revision};
use crate::client::lease_id::LeaseId;
use crate::coordination::claim::{Claim, ClaimOptions};
use crate::coordination::lease::Lease;

impl Keys {
    /// Acquires a lock with the default options of [`Lock`].
    ///
    /// # Errors
    /// As [`Lock`] says.
    pub async fn lock(&self, name: impl Into<Vec<u8>>) -> Result<LockGuard, Error> {
        self.send(Lock::new(name)).await
    }
}

/// Acquiring a lock: `keys.send(Lock::new("inventory").within(Duration::from_secs(60)))`.
///
/// # Errors
/// [`ErrorKind::Held`](crate::ErrorKind::Held) if others held the lock until the timeout;
/// [`ErrorKind::NoLease`](crate::ErrorKind::NoLease) if the given lease does not exist;
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the empty name.
///
/// If it fails, or if its future is dropped, the request leaves the queue.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Lock {
    name: Vec<u8>,
    options: ClaimOptions,
}

impl Lock {
    /// The lock with this name in the namespace. Its keys begin with the name and a slash.
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), options: ClaimOptions::DEFAULT }
    }

    /// How long to wait for the lock. The default is the connection's request timeout, 5 s.
    pub fn within(mut self, time: Duration) -> Self {
        self.options.within = Some(time);
        self
    }

    /// Uses the caller's lease, which the caller keeps alive. By default a lease is granted for the lock, and the guard
    /// keeps it alive. One lease holds a lock only once: one release frees it, and older guards do not hold a lock that
    /// the lease acquires again later.
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.options.lease = Some(lease);
        self
    }

    /// How long others wait if this process is killed. The default is 10 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }
}

impl Request for Lock {}

impl sealed::Call for Lock {
    type Response = LockGuard;

    async fn send(self, keys: &Keys) -> Result<LockGuard, Error> {
        let name = keys.full_name(&self.name, Operation::Lock)?;
        let claim = Claim::prepare(keys, &name, &self.options).await?;
        let lock_options = LockOptions::new().with_lease(claim.lease().id().get());
        let mut client = keys.connection().client().lock_client();
        let operation = || Operation::Lock(name.clone());
        let mut kv = keys.connection().kv();
        // The lock service returns the key, but not the revision that created it.
        let acquired = async {
            let response = client.lock(name.clone(), Some(lock_options)).await?;
            let found = kv.get(response.key(), None).await?;
            Ok((found.kvs().first().map_or(0, |kv| kv.create_revision()), revision(response.header())))
        };
        let (claim, revision) = claim.win(&self.options, operation, acquired).await?;
        Ok(LockGuard { claim, revision })
    }
}

/// A held lock. Dropping the guard releases the lock in the background; [`LockGuard::release`] waits for it.
#[derive(Debug)]
#[must_use = "a lock is held as long as its guard is there"]
pub struct LockGuard {
    claim: Claim,
    revision: i64,
}

impl LockGuard {
    /// The key of this holder.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.claim.key()
    }

    /// The lease of the key.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        self.claim.lease()
    }

    /// The keyspace's revision when the lock was acquired.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether the lock is known to be held. Always true with a caller's own lease, which is not monitored.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.claim.is_certain()
    }

    /// Returns when the lock is no longer known to be held. Never returns with a caller's own lease.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// A comparison for transactions: the lock is held. Only this makes sure at the moment of a write.
    #[must_use]
    pub fn is_held(&self) -> Compare {
        self.claim.held_compare()
    }

    /// Releases the lock. When this returns, the next in line can have it.
    ///
    /// # Errors
    /// The errors of every request. The lock then ends with its lease.
    pub async fn release(self) -> Result<(), Error> {
        self.claim.release().await
    }
}
