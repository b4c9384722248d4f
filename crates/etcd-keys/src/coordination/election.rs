//! Elections, by etcd's election service: one leader at a time, with a value that everybody can read.

use std::time::Duration;

use etcd_client::{LeaderKey, LeaderResponse, ObserveStream, ProclaimOptions};

use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::{Keys, Request, sealed};
use crate::client::kv::{Compare, KeyValue, revision};
use crate::client::lease_id::LeaseId;
use crate::coordination::claim::{Claim, ClaimOptions};
use crate::coordination::lease::Lease;

const WIN: fn(Vec<u8>) -> Operation = |name| Operation::Election("win", name);
const ASK: fn(Vec<u8>) -> Operation = |name| Operation::Election("ask for the leader of", name);
const FOLLOW: fn(Vec<u8>) -> Operation = |name| Operation::Election("follow", name);
const PROCLAIM: fn(Vec<u8>) -> Operation = |name| Operation::Election("proclaim a value in", name);

impl Keys {
    /// Waits to win an election, with the default options of [`Campaign`].
    ///
    /// # Errors
    /// As [`Campaign`] says.
    pub async fn campaign(&self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Result<Leadership, Error> {
        self.send(Campaign::new(name, value)).await
    }

    /// The leader's key and value; `None` if there is no leader.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the empty name, and the errors of every request.
    pub async fn leader(&self, name: impl AsRef<[u8]>) -> Result<Option<KeyValue>, Error> {
        let name = self.full_name(name.as_ref(), ASK)?;
        let mut client = self.connection().client().election_client();
        match self.connection().call(|| ASK(name.clone()), client.leader(name.clone())).await {
            Ok(mut response) => Ok(response.take_kv().and_then(|kv| KeyValue::from_etcd(kv, self.namespace()))),
            // The text is from etcd's `client/v3/concurrency`.
            Err(Error { kind: ErrorKind::Etcd { message, .. }, .. }) if message == "election: no leader" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows an election: the leader's key and value now, and after each change.
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
/// # Errors
/// [`ErrorKind::Held`] if others led until the timeout; [`ErrorKind::NoLease`] if the given lease does not exist;
/// [`ErrorKind::Invalid`] for the empty name.
///
/// If it fails, or if its future is dropped, the candidate withdraws.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Campaign {
    name: Vec<u8>,
    value: Vec<u8>,
    options: ClaimOptions,
}

impl Campaign {
    /// The election with this name in the namespace, and the value to show as its leader. Its keys begin with the name and
    /// a slash.
    pub fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into(), options: ClaimOptions::DEFAULT }
    }

    /// How long to wait for the leadership. The default is the connection's request timeout, 5 s.
    pub fn within(mut self, time: Duration) -> Self {
        self.options.within = Some(time);
        self
    }

    /// Uses the caller's lease, which the caller keeps alive. By default a lease is granted for the election, and
    /// [`Leadership`] keeps it alive.
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

impl Request for Campaign {}

impl sealed::Call for Campaign {
    type Response = Leadership;

    async fn send(self, keys: &Keys) -> Result<Leadership, Error> {
        let name = keys.full_name(&self.name, WIN)?;
        let claim = Claim::prepare(keys, &name, &self.options).await?;
        let mut client = keys.connection().client().election_client();
        let lease = claim.lease().id().get();
        let won = async {
            let leader = client.campaign(name.clone(), self.value, lease).await?.take_leader();
            Ok((leader.map_or(0, |leader| leader.rev()), ()))
        };
        let (claim, ()) = claim.win(&self.options, || WIN(name.clone()), won).await?;
        let leader = LeaderKey::new().with_name(name).with_key(claim.full_key());
        let leader = leader.with_rev(claim.created()).with_lease(lease);
        Ok(Leadership { claim, leader })
    }
}

/// A won election. Dropping this resigns in the background; [`Leadership::resign`] waits for it.
#[derive(Debug)]
#[must_use = "dropping the leadership resigns"]
pub struct Leadership {
    claim: Claim,
    leader: LeaderKey,
}

impl Leadership {
    /// The key of this leader.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.claim.key()
    }

    /// The lease of the key.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        self.claim.lease()
    }

    /// Whether this process is known to lead. Always true with a caller's own lease, which is not monitored.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.claim.is_certain()
    }

    /// Returns when this process is no longer known to lead. Never returns with a caller's own lease.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// A comparison for transactions: this process leads. Only this makes sure at the moment of a write.
    #[must_use]
    pub fn is_leading(&self) -> Compare {
        self.claim.held_compare()
    }

    /// Changes the leader's value, without a new election.
    ///
    /// # Errors
    /// If this process does not lead any more, and the errors of every request.
    pub async fn proclaim(&self, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let connection = self.claim.keys().connection();
        let mut client = connection.client().election_client();
        let options = ProclaimOptions::new().with_leader(self.leader.clone());
        let operation = || PROCLAIM(self.leader.name().to_vec());
        let call = connection.call(operation, client.proclaim(value, Some(options)));
        connection.write(call, |answer| Some(revision(answer.header()))).await.map(drop)
    }

    /// Resigns. When this returns, the next in line can lead.
    ///
    /// # Errors
    /// The errors of every request. The leadership then ends with its lease.
    pub async fn resign(self) -> Result<(), Error> {
        self.claim.release().await
    }
}

/// The leaders of an election and their values, as they change.
#[derive(Debug)]
pub struct Observer {
    keys: Keys,
    name: Vec<u8>,
    stream: Option<ObserveStream>,
}

impl Observer {
    /// The next leader, or the same leader's next value. Waits while there is no leader. `None`: etcd ended the stream,
    /// as it does when the election's keys are gone.
    ///
    /// # Errors
    /// The errors of every request. The next call starts again, with the leader of that time.
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
            // etcd does not even confirm the stream before there is a leader: this can take long.
            None => self.keys.connection().client().election_client().observe(self.name.clone()).await?,
        };
        self.stream.insert(stream).message().await
    }
}
