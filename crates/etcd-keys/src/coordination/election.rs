//! Elections, by etcd's election service: one leader at a time, with a value for all to see.

use std::time::Duration;

use etcd_client::{LeaderKey, LeaderResponse, ObserveStream, ProclaimOptions};

use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::{Keys, Request, sealed};
use crate::client::kv::{Compare, KeyValue};
use crate::client::lease_id::LeaseId;
use crate::coordination::claim::{Claim, Terms};
use crate::coordination::lease::Lease;

const WIN: fn(Vec<u8>) -> Operation = |name| Operation::Election("win", name);
const ASK: fn(Vec<u8>) -> Operation = |name| Operation::Election("ask for the leader of", name);
const FOLLOW: fn(Vec<u8>) -> Operation = |name| Operation::Election("follow", name);
const PROCLAIM: fn(Vec<u8>) -> Operation = |name| Operation::Election("proclaim a value in", name);

impl Keys {
    /// Wins an election with the defaults of [`Campaign`].
    ///
    /// # Errors
    /// As [`Campaign`] says.
    pub async fn campaign(&self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<Leadership, Error> {
        self.send(Campaign::new(name, value)).await
    }

    /// The leader's key and value; `None`: nobody leads.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty name, and what every call may end in.
    pub async fn leader(&self, name: impl AsRef<[u8]>) -> Result<Option<KeyValue>, Error> {
        let name = self.full_name(name.as_ref(), ASK)?;
        let mut client = self.connection().raw().election_client();
        match self.connection().call(|| ASK(name.clone()), client.leader(name.clone())).await {
            Ok(mut response) => Ok(response.take_kv().and_then(|kv| KeyValue::from_etcd(kv, self.namespace()))),
            // In the words of etcd's `client/v3/concurrency`.
            Err(Error { kind: ErrorKind::Etcd { message, .. }, .. }) if message == "election: no leader" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows an election: the leader's key and value now, and whenever one of them changes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty name.
    pub fn observe(&self, name: impl AsRef<[u8]>) -> Result<Observer, Error> {
        let name = self.full_name(name.as_ref(), FOLLOW)?;
        Ok(Observer { keys: self.clone(), name, stream: None })
    }
}

/// Winning an election: `keys.send(Campaign::new("scheduler", "host 7").within(Duration::from_secs(60)))`.
///
/// It fails with [`ErrorKind::Held`] when others led all the time, with [`ErrorKind::NoLease`] when the lease given is not
/// there, and with [`ErrorKind::Invalid`] for the empty name. When it fails, or its future is dropped, we do not stand
/// for election any more.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Campaign {
    name: Vec<u8>,
    value: Vec<u8>,
    terms: Terms,
}

impl Campaign {
    /// The election of this name in the namespace, and what we have to say when we lead. Its keys are those
    /// that begin with the name and a slash.
    pub fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into(), terms: Terms::DEFAULT }
    }

    /// How long to wait for it; as long as for any answer (5 s) unless said otherwise.
    pub fn within(mut self, time: Duration) -> Self {
        self.terms.within = Some(time);
        self
    }

    /// The leader's own lease, which the leader keeps alive, instead of one that is granted for the election
    /// and kept alive as long as we lead.
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

impl Request for Campaign {}

impl sealed::Call for Campaign {
    type Response = Leadership;

    async fn send(self, keys: &Keys) -> Result<Leadership, Error> {
        let name = keys.full_name(&self.name, WIN)?;
        let claim = Claim::prepare(keys, &name, &self.terms).await?;
        let mut client = keys.connection().raw().election_client();
        let lease = claim.lease().id().get();
        let won = async {
            let leader = client.campaign(name.clone(), self.value, lease).await?.take_leader();
            Ok((leader.map_or(0, |leader| leader.rev()), ()))
        };
        let (claim, ()) = claim.win(&self.terms, || WIN(name.clone()), won).await?;
        let leader = LeaderKey::new().with_name(name).with_key(claim.full_key());
        let leader = leader.with_rev(claim.created()).with_lease(lease);
        Ok(Leadership { claim, leader })
    }
}

/// We lead. Dropped, we resign soon; [`Leadership::resign`] returns when we have.
#[derive(Debug)]
#[must_use = "we lead as long as this is there"]
pub struct Leadership {
    claim: Claim,
    leader: LeaderKey,
}

impl Leadership {
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

    /// Whether we lead for certain; for a leader's own lease, which we do not watch, always.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.claim.is_certain()
    }

    /// Returns once we are not certain to lead any more; with a leader's own lease, never.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// That we lead, for transactions: the only way to be sure at the moment of a write.
    #[must_use]
    pub fn is_leading(&self) -> Compare {
        self.claim.stands()
    }

    /// Says something else, without another election.
    ///
    /// # Errors
    /// If we lead no more, and what every call may end in.
    pub async fn proclaim(&self, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let connection = self.claim.keys().connection();
        let mut client = connection.raw().election_client();
        let options = ProclaimOptions::new().with_leader(self.leader.clone());
        let operation = || PROCLAIM(self.leader.name().to_vec());
        connection.call(operation, client.proclaim(value, Some(options))).await.map(drop)
    }

    /// Resigns; the next in line leads when this returns.
    ///
    /// # Errors
    /// What every call may end in; the leadership then goes with its lease.
    pub async fn resign(self) -> Result<(), Error> {
        self.claim.release().await
    }
}

/// What the leaders of an election say.
#[derive(Debug)]
pub struct Observer {
    keys: Keys,
    name: Vec<u8>,
    stream: Option<ObserveStream>,
}

impl Observer {
    /// The next leader, or the next value of the same one; `None`: etcd has ended the stream, which it does
    /// when the election's keys are gone. Waits for as long as there is none.
    ///
    /// # Errors
    /// What every call may end in. The next call begins anew, with the leader of then.
    pub async fn try_next(&mut self) -> Result<Option<KeyValue>, Error> {
        match self.message().await {
            Ok(answer) => {
                let kv = answer.and_then(|mut answer| answer.take_kv());
                Ok(kv.and_then(|kv| KeyValue::from_etcd(kv, self.keys.namespace())))
            }
            Err(error) => {
                self.stream = None;
                let (kind, source) = (ErrorKind::of(&error), Some(Box::new(error)));
                let endpoint = self.keys.connection().endpoint().into();
                Err(Error { operation: FOLLOW(self.name.clone()), endpoint, kind, source })
            }
        }
    }

    async fn message(&mut self) -> Result<Option<LeaderResponse>, etcd_client::Error> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            // Etcd says nothing before there is a leader, not even that it listens: this may take its time.
            None => self.keys.connection().raw().election_client().observe(self.name.clone()).await?,
        };
        self.stream.insert(stream).message().await
    }
}
