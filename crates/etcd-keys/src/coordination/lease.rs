//! Leases: grant, keep alive, look up, revoke. A namespace ends none that others' keys are on.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::LeaseTimeToLiveOptions;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;
use crate::coordination::clock;

/// The longest pause between two attempts to renew a lease that could not be renewed.
const RETRY: Duration = Duration::from_secs(1);
/// How often whoever waits for a loss looks at the clock: timers stop while the machine sleeps.
const LOOK: Duration = Duration::from_secs(1);

impl Keys {
    /// Grants a lease. The time to live is rounded up to seconds, and etcd raises it to its minimum: 2 s by
    /// default, 1 s where the election timeout is at most 666 ms.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] and what every call may end in.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.grant_with_ttl(ttl).await.map(|(lease, _)| lease)
    }

    /// The lease, and the time to live that etcd gave it.
    pub(crate) async fn grant_with_ttl(&self, ttl: Duration) -> Result<(Lease, Duration), Error> {
        let seconds =
            i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).saturating_add(i64::from(ttl.subsec_nanos() > 0));
        let operation = || Operation::Grant(self.namespace().prefix().to_vec());
        let mut client = self.connection().raw().lease_client();
        let response = self.connection().call(operation, client.grant(seconds.max(1), None)).await?;
        let Some(id) = LeaseId::new(response.id()) else {
            return Err(self.refuse(operation(), ErrorKind::NoLease));
        };
        self.granted(|granted| granted.ids.insert(id));
        self.forget_ended().await;
        Ok((self.lease(id), seconds_of(response.ttl())))
    }

    /// Forgets leases that ran out, if many are known. If etcd does not say which live, none is forgotten.
    async fn forget_ended(&self) {
        let Some(known) = self.granted(|granted| (granted.ids.len() >= granted.many).then(|| granted.ids.clone()))
        else {
            return;
        };
        let mut client = self.connection().raw().lease_client();
        let operation = || Operation::Grant(self.namespace().prefix().to_vec());
        let Ok(living) = self.connection().call(operation, client.leases()).await else { return };
        let living = living.leases().iter().filter_map(|lease| LeaseId::new(lease.id())).collect();
        self.granted(|granted| granted.keep(&known, &living));
    }

    /// A lease by its id. No round trip: whether there is one shows when it is used.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Lease {
        Lease { keys: self.clone(), id }
    }

    /// The leases that are this namespace's: those that a key in it is on, and those that this client or a clone
    /// of it granted, as far as they still live. Etcd does not know whose a lease is; one that another process
    /// granted shows once a key is on it. Reads all of the namespace, in pages, and looks up each lease that no
    /// key is on.
    ///
    /// # Errors
    /// As [`Pages::next_page`](crate::pages::Pages::next_page).
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let mut leases = BTreeSet::new();
        // With the values: etcd 3.7 tells no lease where only keys are asked for.
        let mut pages = self.pages(KeyRange::all());
        while let Some(page) = pages.next_page().await? {
            leases.extend(page.entries().filter_map(|entry| entry.lease()));
        }
        let others: Vec<LeaseId> = self.granted(|granted| granted.ids.difference(&leases).copied().collect());
        for id in others {
            match self.lease(id).remaining().await {
                Ok(_) => drop(leases.insert(id)),
                Err(error) if error.kind == ErrorKind::NoLease => {}
                Err(error) => return Err(error),
            }
        }
        Ok(leases.into_iter().collect())
    }
}

/// A lease: keys that are put on it go when it ends. It lives on in etcd when this is dropped, until its time
/// is over; [`Lease::keep`] renews it.
#[derive(Clone, Debug)]
pub struct Lease {
    keys: Keys,
    id: LeaseId,
}

/// How a lease stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// How long it will live if nobody renews it, in whole seconds.
    pub ttl: Duration,
    /// How long it lived when it was granted or renewed.
    pub granted: Duration,
    /// The keys of the namespace that are on it.
    pub keys: Vec<Vec<u8>>,
}

impl Lease {
    /// Its id, for [`Put::lease`](crate::kv::Put::lease).
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Renews it once; tells how long it lives now.
    ///
    /// # Errors
    /// [`ErrorKind::NoLease`] and what every call may end in.
    pub async fn renew(&self) -> Result<Duration, Error> {
        let mut client = self.keys.connection().raw().lease_client();
        let renewal = async {
            // The first answer is a renewal already, but etcd-client does not pass its time on.
            let (mut keeper, mut answers) = client.keep_alive(self.id.get()).await?;
            keeper.keep_alive().await?;
            Ok(answers.message().await?.map_or(0, |answer| answer.ttl()))
        };
        let ttl = self.call("renew", renewal).await?;
        if ttl > 0 { Ok(seconds_of(ttl)) } else { Err(self.gone("renew")) }
    }

    /// Renews it once, in one round trip. A stream for each renewal: it goes wherever the connection goes, and
    /// none is left to look after.
    async fn beat(&self) -> Result<(), Error> {
        let mut client = self.keys.connection().raw().lease_client();
        self.call("renew", client.keep_alive(self.id.get())).await.map(drop)
    }

    /// Renews it at a third of its time, in the background, until the keeper is dropped.
    ///
    /// # Errors
    /// As [`Lease::renew`], for the first time.
    pub async fn keep(&self) -> Result<Keeper, Error> {
        let asked = clock::now();
        let ttl = self.renew().await?;
        Ok(Keeper::start(self.clone(), asked, ttl))
    }

    /// How it stands, with the namespace's keys on it.
    ///
    /// # Errors
    /// [`ErrorKind::NoLease`] and what every call may end in.
    pub async fn remaining(&self) -> Result<Remaining, Error> {
        let (mut remaining, full) = self.look_up().await?;
        let keys = full.iter().filter_map(|key| self.keys.namespace().to_relative(key));
        remaining.keys = keys.map(<[u8]>::to_vec).collect();
        Ok(remaining)
    }

    /// Ends it, with the keys on it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it was not granted here and keys outside the namespace are on it;
    /// [`ErrorKind::NoLease`] and what every call may end in.
    pub async fn revoke(&self) -> Result<(), Error> {
        if !self.keys.granted(|granted| granted.ids.contains(&self.id)) {
            let (_, full) = self.look_up().await?;
            if full.iter().any(|key| self.keys.namespace().to_relative(key).is_none()) {
                let why = format!("keys outside of `{}` are on it", self.keys.namespace());
                return Err(self.keys.refuse(Operation::Lease("revoke", self.id), ErrorKind::Invalid(why)));
            }
        }
        let mut client = self.keys.connection().raw().lease_client();
        self.call("revoke", client.revoke(self.id.get())).await?;
        self.keys.granted(|granted| granted.ids.remove(&self.id));
        Ok(())
    }

    /// How it stands, without keys, and all keys on it by their full names.
    async fn look_up(&self) -> Result<(Remaining, Vec<Vec<u8>>), Error> {
        let mut client = self.keys.connection().raw().lease_client();
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let response = self.call("look up", client.time_to_live(self.id.get(), Some(options))).await?;
        if response.ttl() < 0 {
            return Err(self.gone("look up"));
        }
        let (ttl, granted) = (seconds_of(response.ttl()), seconds_of(response.granted_ttl()));
        Ok((Remaining { ttl, granted, keys: Vec::new() }, response.keys().to_vec()))
    }

    async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        let result = self.keys.connection().call(|| Operation::Lease(what, self.id), call).await;
        if result.as_ref().is_err_and(|error| error.kind == ErrorKind::NoLease) {
            self.keys.granted(|granted| granted.ids.remove(&self.id));
        }
        result
    }

    fn gone(&self, what: &'static str) -> Error {
        self.keys.granted(|granted| granted.ids.remove(&self.id));
        self.keys.refuse(Operation::Lease(what, self.id), ErrorKind::NoLease)
    }
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Keeps a lease alive, until it is dropped; the lease then lives out its time, unless it is revoked.
#[derive(Debug)]
#[must_use = "a lease is kept alive as long as its keeper is there"]
pub struct Keeper {
    lease: Lease,
    task: AbortHandle,
    /// Until when the lease is certain to live, by [`clock::now`]; `None`: etcd knows it no more.
    until: watch::Receiver<Option<Duration>>,
}

impl Keeper {
    /// Begins with a lease that was granted or renewed by a call begun at `asked`, by [`clock::now`].
    pub(crate) fn start(lease: Lease, asked: Duration, ttl: Duration) -> Self {
        let (certain, until) = watch::channel(Some(asked + ttl));
        let task = lease.keys.connection().runtime().spawn(keep(lease.clone(), ttl, certain)).abort_handle();
        Self { lease, task, until }
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Whether the lease lives for certain: etcd has confirmed it, less than its time to live ago.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.until.borrow().is_some_and(|until| clock::now() < until)
    }

    /// Returns once the lease is not certain to live any more: etcd does not know it, or has not answered for
    /// as long as it would live. In the second case it may live after all, and is still being renewed.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let Some(certain) = *until.borrow_and_update() else { return };
            let left = certain.saturating_sub(clock::now());
            if left.is_zero() || matches!(tokio::time::timeout(left.min(LOOK), until.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Three chances to renew in each time to live, and more when one fails.
async fn keep(lease: Lease, ttl: Duration, certain: watch::Sender<Option<Duration>>) {
    let mut pause = ttl / 3;
    loop {
        tokio::time::sleep(pause).await;
        let asked = clock::now();
        match lease.beat().await {
            Ok(()) => {
                certain.send_replace(Some(asked + ttl));
                pause = ttl / 3;
            }
            Err(error) if error.kind == ErrorKind::NoLease => {
                certain.send_replace(None);
                return;
            }
            Err(_) => pause = (ttl / 10).min(RETRY),
        }
    }
}
