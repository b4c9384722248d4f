//! Leases: grant, keep alive, look up, revoke. A namespace does not revoke a lease that has keys of other namespaces.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::LeaseTimeToLiveOptions;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;
use crate::coordination::clock;

/// The longest pause between two attempts to renew a lease that could not be renewed.
const RETRY: Duration = Duration::from_secs(1);
/// How often [`Keeper::lost`] checks the clock: timers stop while the machine sleeps.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Connection {
    /// The live leases of the whole cluster, whoever granted them, in one round trip.
    ///
    /// # Errors
    /// The errors of every request. From etcd 3.7 on, only a user with the role `root` may ask.
    pub async fn leases(&self) -> Result<BTreeSet<LeaseId>, Error> {
        let mut client = self.client().lease_client();
        let found = self.call(|| Operation::ListLeases, client.leases()).await?;
        Ok(found.leases().iter().filter_map(|lease| LeaseId::new(lease.id())).collect())
    }
}

impl Keys {
    /// Grants a lease. The time to live is rounded up to seconds, and etcd raises it to its minimum: 2 s by
    /// default, 1 s where the election timeout is at most 666 ms.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] and the errors of every request.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.grant_with_ttl(ttl).await.map(|(lease, _)| lease)
    }

    /// The lease, and the time to live that etcd gave it.
    pub(crate) async fn grant_with_ttl(&self, ttl: Duration) -> Result<(Lease, Duration), Error> {
        let seconds =
            i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).saturating_add(i64::from(ttl.subsec_nanos() > 0));
        let operation = || Operation::Grant(self.namespace().prefix().to_vec());
        let mut client = self.connection().client().lease_client();
        let response = self.connection().call(operation, client.grant(seconds.max(1), None)).await?;
        let Some(id) = LeaseId::new(response.id()) else {
            return Err(self.refuse(operation(), ErrorKind::NoLease));
        };
        self.granted(|granted| granted.ids.insert(id));
        self.forget_ended().await;
        Ok((self.lease(id), seconds_of(response.ttl())))
    }

    /// Forgets expired leases if many are known. Forgets none if etcd does not answer which leases are alive.
    async fn forget_ended(&self) {
        let Some(known) = self.granted(|granted| (granted.ids.len() >= granted.many).then(|| granted.ids.clone()))
        else {
            return;
        };
        let Ok(living) = self.connection().leases().await else { return };
        self.granted(|granted| granted.keep(&known, &living));
    }

    /// A lease by its id. Sends no request: a lease that does not exist is an error only when it is used.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Lease {
        Lease { keys: self.clone(), id }
    }

    /// The live leases of this namespace: leases of its keys, and leases that this client or a clone of it granted. etcd
    /// does not record who granted a lease: a lease of another process is listed only if a key of the namespace has it.
    /// Reads the whole namespace in pages, and looks up each lease without keys.
    ///
    /// # Errors
    /// As [`Pages::next_page`](crate::pages::Pages::next_page).
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let mut leases = BTreeSet::new();
        // With values: etcd 3.7 does not return leases in keys-only reads.
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

/// A lease: when it ends, etcd deletes the keys that have it. Dropping this value does not end the lease: it lives until
/// its time to live is over. [`Lease::keep`] renews it.
#[derive(Clone, Debug)]
pub struct Lease {
    keys: Keys,
    id: LeaseId,
}

/// The state of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// The remaining time to live, in whole seconds.
    pub ttl: Duration,
    /// The time to live that a renewal gives it.
    pub granted: Duration,
    /// The keys of the namespace that have this lease.
    pub keys: Vec<Vec<u8>>,
}

impl Lease {
    /// The id, for [`Put::lease`](crate::kv::Put::lease).
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Renews the lease once. Returns its time to live.
    ///
    /// # Errors
    /// [`ErrorKind::NoLease`] and the errors of every request.
    pub async fn renew(&self) -> Result<Duration, Error> {
        let mut client = self.keys.connection().client().lease_client();
        let renewal = async {
            // The first answer already renews the lease, but etcd-client does not return its time to live.
            let (mut keeper, mut answers) = client.keep_alive(self.id.get()).await?;
            keeper.keep_alive().await?;
            Ok(answers.message().await?.map_or(0, |answer| answer.ttl()))
        };
        let ttl = self.call("renew", renewal).await?;
        if ttl > 0 { Ok(seconds_of(ttl)) } else { Err(self.gone("renew")) }
    }

    /// Renews the lease once, in one round trip. Each renewal opens its own stream, so that it follows the connection to
    /// other endpoints.
    async fn heartbeat(&self) -> Result<(), Error> {
        let mut client = self.keys.connection().client().lease_client();
        self.call("renew", client.keep_alive(self.id.get())).await.map(drop)
    }

    /// Renews the lease in the background, each time a third of its time to live has passed, until the keeper is dropped.
    ///
    /// # Errors
    /// As [`Lease::renew`], for the first renewal.
    pub async fn keep(&self) -> Result<Keeper, Error> {
        let sent = clock::now();
        let ttl = self.renew().await?;
        Ok(Keeper::start(self.clone(), sent, ttl))
    }

    /// The lease's state, with the keys of the namespace that have it.
    ///
    /// # Errors
    /// [`ErrorKind::NoLease`] and the errors of every request.
    pub async fn remaining(&self) -> Result<Remaining, Error> {
        let (mut remaining, full) = self.look_up().await?;
        let keys = full.iter().filter_map(|key| self.keys.namespace().to_relative(key));
        remaining.keys = keys.map(<[u8]>::to_vec).collect();
        Ok(remaining)
    }

    /// Ends the lease. etcd deletes its keys.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the lease was not granted here and keys outside of the namespace have it;
    /// [`ErrorKind::NoLease`] and the errors of every request.
    pub async fn revoke(&self) -> Result<(), Error> {
        if !self.keys.granted(|granted| granted.ids.contains(&self.id)) {
            let (_, full) = self.look_up().await?;
            if full.iter().any(|key| self.keys.namespace().to_relative(key).is_none()) {
                let why = format!("keys outside of `{}` have this lease", self.keys.namespace());
                return Err(self.keys.refuse(Operation::Lease("revoke", self.id), ErrorKind::Invalid(why)));
            }
        }
        let mut client = self.keys.connection().client().lease_client();
        self.call("revoke", client.revoke(self.id.get())).await?;
        self.keys.granted(|granted| granted.ids.remove(&self.id));
        Ok(())
    }

    /// The lease's state without keys, and the full names of all keys that have it.
    async fn look_up(&self) -> Result<(Remaining, Vec<Vec<u8>>), Error> {
        let mut client = self.keys.connection().client().lease_client();
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

/// Keeps a lease alive until this is dropped. The lease then expires, unless it is revoked before.
#[derive(Debug)]
#[must_use = "dropping the keeper lets the lease expire"]
pub struct Keeper {
    lease: Lease,
    task: AbortHandle,
    /// The time until which the lease is known to be alive, by [`clock::now`]; `None`: it does not exist any more.
    until: watch::Receiver<Option<Duration>>,
}

impl Keeper {
    /// Starts with a lease that was granted or renewed by a request sent at `sent`, by [`clock::now`].
    pub(crate) fn start(lease: Lease, sent: Duration, ttl: Duration) -> Self {
        let (certain, until) = watch::channel(Some(sent + ttl));
        let task = lease.keys.connection().runtime().spawn(keep(lease.clone(), ttl, certain)).abort_handle();
        Self { lease, task, until }
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Whether the lease is known to be alive: etcd confirmed it less than its time to live ago.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.until.borrow().is_some_and(|until| clock::now() < until)
    }

    /// Returns when the lease is no longer known to be alive: etcd says that it does not exist, or has not answered for
    /// the whole time to live. In the second case the lease may still be alive, and renewing goes on.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let Some(certain) = *until.borrow_and_update() else { return };
            let left = certain.saturating_sub(clock::now());
            if left.is_zero()
                || matches!(tokio::time::timeout(left.min(CLOCK_CHECK_INTERVAL), until.changed()).await, Ok(Err(_)))
            {
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

/// Renews three times in each time to live, and more often after a failure.
async fn keep(lease: Lease, ttl: Duration, certain: watch::Sender<Option<Duration>>) {
    let mut pause = ttl / 3;
    loop {
        tokio::time::sleep(pause).await;
        let sent = clock::now();
        match lease.heartbeat().await {
            Ok(()) => {
                certain.send_replace(Some(sent + ttl));
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
