//! Locks, by etcd's lock service: one holder at a time, in the order in which they asked.

use std::time::Duration;

use etcd_client::LockOptions;

use crate::client::error::{Error, Operation};
use crate::client::keys::{Keys, Request, sealed};
use crate::client::kv::{Compare, revision};
use crate::client::lease_id::LeaseId;
use crate::coordination::claim::{Claim, Terms};
use crate::coordination::lease::Lease;

impl Keys {
    /// Acquires a lock with the defaults of [`Lock`].
    ///
    /// # Errors
    /// As [`Lock`] says.
    pub async fn lock(&self, name: impl Into<Vec<u8>>) -> Result<LockGuard, Error> {
        self.send(Lock::new(name)).await
    }
}

/// Acquiring a lock: `keys.send(Lock::new("inventory").within(Duration::from_secs(60)))`.
///
/// It fails with [`ErrorKind::Held`](crate::ErrorKind::Held) when others had it all the time, with
/// [`ErrorKind::NoLease`](crate::ErrorKind::NoLease) when the lease given is not there, and with
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the empty name. When it fails, or its future is dropped, we do not
/// stand in line any more.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Lock {
    name: Vec<u8>,
    terms: Terms,
}

impl Lock {
    /// The lock of this name in the namespace. Its keys are those that begin with the name and a slash.
    pub fn new(name: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), terms: Terms::DEFAULT }
    }

    /// How long to wait for it; as long as for any answer (5 s) unless said otherwise.
    pub fn within(mut self, time: Duration) -> Self {
        self.terms.within = Some(time);
        self
    }

    /// The holder's own lease, which the holder keeps alive, instead of one that is granted for the lock and
    /// kept alive by its guard. The same lease acquires the same lock only once: releasing it once is enough, and
    /// guards from before do not hold what it acquires afterwards.
    pub fn lease(mut self, lease: LeaseId) -> Self {
        self.terms.lease = Some(lease);
        self
    }

    /// How long others have to wait if we are killed; 10 s unless said otherwise.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }
}

impl Request for Lock {}

impl sealed::Call for Lock {
    type Response = LockGuard;

    async fn send(self, keys: &Keys) -> Result<LockGuard, Error> {
        let name = keys.full_name(&self.name, Operation::Lock)?;
        let claim = Claim::prepare(keys, &name, &self.terms).await?;
        let options = LockOptions::new().with_lease(claim.lease().id().get());
        let mut client = keys.connection().raw().lock_client();
        let operation = || Operation::Lock(name.clone());
        let mut kv = keys.connection().kv();
        // The lock service tells the key, and not which revision created it.
        let acquired = async {
            let response = client.lock(name.clone(), Some(options)).await?;
            let found = kv.get(response.key(), None).await?;
            Ok((found.kvs().first().map_or(0, |kv| kv.create_revision()), revision(response.header())))
        };
        let (claim, revision) = claim.win(&self.terms, operation, acquired).await?;
        Ok(LockGuard { claim, revision })
    }
}

/// A lock that is held. Dropped, it is released soon; [`LockGuard::release`] returns when it is.
#[derive(Debug)]
#[must_use = "a lock is held as long as its guard is there"]
pub struct LockGuard {
    claim: Claim,
    revision: i64,
}

impl LockGuard {
    /// The key that stands for it.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.claim.key()
    }

    /// The lease that it goes with.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        self.claim.lease()
    }

    /// The keyspace's revision when it was acquired.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether it is held for certain; for a holder's own lease, which we do not watch, always.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.claim.is_certain()
    }

    /// Returns once it is not certain to be held any more; with a holder's own lease, never.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// That it is held, for transactions: the only way to be sure at the moment of a write.
    #[must_use]
    pub fn is_held(&self) -> Compare {
        self.claim.stands()
    }

    /// Releases it; the next in line has it when this returns.
    ///
    /// # Errors
    /// What every call may end in; the lock then goes with its lease.
    pub async fn release(self) -> Result<(), Error> {
        self.claim.release().await
    }
}
