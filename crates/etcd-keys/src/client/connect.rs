//! Connecting: endpoints, timeouts, credentials, limits. A dead server is noticed within seconds, and no call
//! waits without a deadline.

mod address;
mod candidates;
mod failover;
pub(crate) mod own_watches;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions, GetResponse, KvClient, WatchClient};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::address::Address;
use self::failover::{Encrypted, Failover, Members};
use self::own_watches::OwnWatches;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::own_writes::OwnWrites;
use crate::client::tls::{Tls, TlsError};

/// The largest answer that is accepted, in bytes. tonic refuses more than 4 MiB by default, which a page of
/// large values or a burst of events exceeds.
const LARGEST_ANSWER: usize = 512 << 20;

/// How long a connection with calls or watches under way may be silent before the server is asked for a sign
/// of life. etcd drops connections that ask more often than every 5 s (`--grpc-keepalive-min-time`), or while
/// nothing is under way: an idle watch would be cut off after the third time.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(5_200);
/// How long that sign may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before the next attempt while the cluster has no leader.
const NO_LEADER: Duration = Duration::from_millis(50);
/// How long it may take to find out whether a server that does not answer speaks TLS.
const PROBE: Duration = Duration::from_secs(1);

/// Why a text is not a valid endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidEndpoint(String);

/// Whether [`Connect::new`] can take this as one endpoint: for settings, which are to be refused where they stand.
///
/// # Errors
/// Why not.
pub fn check_endpoint(endpoint: &str) -> Result<(), InvalidEndpoint> {
    address::check(endpoint).map_err(InvalidEndpoint)
}

/// How to reach a cluster.
#[derive(Clone)]
pub struct Connect {
    endpoints: Vec<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    keep_alive: (Duration, Duration),
    tls: Option<Tls>,
    user: Option<(String, String)>,
    options: ConnectOptions,
    runtime: Option<Handle>,
    own_writes: Option<usize>,
    own_watches: Option<usize>,
}

impl Connect {
    /// A cluster by its client URLs; an item may be a list with commas.
    ///
    /// Calls go to one endpoint as long as it answers, then to the next. What was sent to one that died is not
    /// sent again, unless it is a read: a write may have been done.
    #[must_use]
    pub fn new<U: Into<String>>(endpoints: impl IntoIterator<Item = U>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            keep_alive: (KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT),
            tls: None,
            user: None,
            options: ConnectOptions::new(),
            runtime: None,
            own_writes: None,
            own_watches: None,
        }
    }

    /// How long a connection may take; 5 s unless said otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer may take; 5 s unless said otherwise. Watches are not bound by it, and whatever waits
    /// for others, as locks do, has a limit of its own.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a server may be silent, while calls or watches wait for it, until it is asked for a sign of
    /// life, and how long that may take: 5.2 s and 2 s. etcd drops a connection that asks every 5 s or more
    /// often, unless its `--grpc-keepalive-min-time` says otherwise.
    #[must_use]
    pub fn keep_alive(mut self, silence: Duration, answer: Duration) -> Self {
        self.keep_alive = (silence, answer);
        self
    }

    /// How endpoints that begin with `https://`, or with no scheme, are reached. Without this, `https://` trusts the CAs
    /// of the system, and no scheme means plain text.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Who we are.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// etcd-client's own options, for what has no name here. Not for TLS, which is [`Connect::tls`]'s.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The runtime that the connection's own tasks live on: the one that calls [`Connect::connect`], unless
    /// said otherwise. The connection can be used from any other, for as long as this one runs: what is shared
    /// by tests, each with its own runtime, needs one that outlives them.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Remembers the revisions of the connection's last writes, so many, for [`Connection::own_revisions`]. Takes 8 bytes for
    /// each of them at once, and no request.
    #[must_use]
    pub fn remember_writes(mut self, count: usize) -> Self {
        self.own_writes = Some(count);
        self
    }

    /// Remembers where the connection's last watches began, so many, for [`Connection::own_watches`].
    #[must_use]
    pub fn remember_watches(mut self, count: usize) -> Self {
        self.own_watches = Some(count);
        self
    }

    /// Connects, and proves that an etcd answers: by the log-in where there is a user, else by one small read.
    /// Of several endpoints the one that answers first is used. The others have as long again as that took, and no less than
    /// 10 ms, to say that they are of another cluster, which is an error. If such an endpoint is slower, or the connection has
    /// a user, to whom a log-in does not tell the cluster, only a call that would go to that endpoint finds out.
    ///
    /// # Errors
    /// [`ErrorKind::AnotherCluster`] if the endpoints lead to two clusters, [`ErrorKind::Unreachable`] or [`ErrorKind::TimedOut`] within the connect timeout, [`ErrorKind::Denied`] for a wrong
    /// password, [`ErrorKind::Invalid`] for what is not a valid endpoint.
    pub async fn connect(self) -> Result<Connection, Error> {
        let given: Arc<str> = address::shown(&self.endpoints).into();
        let user: Option<Arc<str>> = self.user.as_ref().map(|(name, _)| name.as_str().into());
        let failed = |kind: ErrorKind, source| {
            let kind = kind.with_user(user.as_deref());
            Error { operation: Operation::Connect, endpoint: given.clone(), kind, source }
        };
        let invalid = |why| failed(ErrorKind::Invalid(why), None);
        let addresses = address::parse(&self.endpoints, self.tls.is_some()).map_err(invalid)?;
        let encryption = Encryption::new(self.tls.unwrap_or_default());
        addresses.iter().try_for_each(|address| encryption.add(address)).map_err(invalid)?;
        let runtime = self.runtime.clone().unwrap_or_else(Handle::current);
        let share =
            u32::try_from(addresses.len()).map_or(self.connect_timeout, |count| self.connect_timeout / count.max(1));
        let mut options = self
            .options
            .with_connect_timeout(share)
            .with_keep_alive(self.keep_alive.0, self.keep_alive.1)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        let logs_in = self.user.is_some();
        if let Some((name, password)) = self.user {
            options = options.with_user(name, password).with_auto_token_refresh(true);
        }
        // One candidate for each endpoint, which tries the others after it.
        let mut candidates = JoinSet::new();
        for first in 0..addresses.len() {
            let mut urls: Vec<String> = addresses.iter().map(|address| address.url.clone()).collect();
            urls.rotate_left(first);
            let failover = Failover::new(runtime.clone(), Arc::clone(&encryption.encrypted));
            candidates.spawn_on(candidates::connect(urls, options.clone(), logs_in, failover), &runtime);
        }
        let began = Instant::now();
        match tokio::time::timeout(self.connect_timeout, candidates::first_success(&mut candidates)).await {
            Ok(Ok((client, members, cluster_id))) => {
                if let Some(before) = cluster_id
                    && let Some(now) = candidates::other_cluster(&mut candidates, before, began.elapsed()).await
                {
                    return Err(failed(ErrorKind::AnotherCluster { before, now }, None));
                }
                let endpoint = addresses.iter().map(|address| address.shown.as_str()).collect::<Vec<_>>().join(",");
                Ok(Connection {
                    shared: Arc::new(Shared {
                        client,
                        members,
                        cluster_id,
                        user,
                        endpoint: endpoint.into(),
                        encryption,
                        request_timeout: self.request_timeout,
                        runtime,
                        own_writes: self.own_writes.map(OwnWrites::new),
                        own_watches: self.own_watches.map(OwnWatches::new),
                    }),
                })
            }
            Ok(Err(error)) => {
                let kind = match ErrorKind::of(&error) {
                    ErrorKind::Unreachable if speaks_tls(&addresses).await => ErrorKind::Tls(TlsError::TlsOnly),
                    kind => kind,
                };
                Err(failed(kind, Some(Box::new(error))))
            }
            Err(_) => Err(failed(ErrorKind::TimedOut, None)),
        }
    }
}

/// Never shows the password.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("Connect")
            .field("endpoints", &address::shown(&self.endpoints))
            .field("tls", &self.tls)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

/// How the endpoints of a connection are encrypted.
struct Encryption {
    tls: Tls,
    encrypted: Encrypted,
}

impl Encryption {
    fn is_used(&self) -> bool {
        !self.encrypted.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn new(tls: Tls) -> Self {
        Self { tls, encrypted: Encrypted::default() }
    }

    /// Has an endpoint reached as it is to be.
    ///
    /// # Errors
    /// What is wrong with the certificates, as text.
    fn add(&self, address: &Address) -> Result<(), String> {
        if let Some(authority) = address.authority().filter(|_| address.is_encrypted) {
            let connector = self.tls.connector()?;
            self.encrypted.lock().unwrap_or_else(PoisonError::into_inner).insert(authority, connector);
        }
        Ok(())
    }
}

/// Whether one of these endpoints, which did not answer in plain text, answers by TLS.
async fn speaks_tls(addresses: &[Address]) -> bool {
    let Ok(connector) = Tls::default().insecure_skip_verify().connector() else { return false };
    for address in addresses.iter().filter(|address| !address.is_encrypted) {
        let Ok(uri) = address.url.parse() else { continue };
        let handshake = connector.clone().connect(uri);
        if matches!(tokio::time::timeout(PROBE, handshake).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// A connection to a cluster. Cloning it is cheap; clones share it.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    members: Members,
    cluster_id: Option<u64>,
    /// The name of the user, if there is one.
    user: Option<Arc<str>>,
    endpoint: Arc<str>,
    encryption: Encryption,
    request_timeout: Duration,
    runtime: Handle,
    /// The revisions of its writes, if they are remembered.
    own_writes: Option<OwnWrites>,
    /// Where its watches began. The same.
    own_watches: Option<OwnWatches>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.shared.endpoint).finish_non_exhaustive()
    }
}

impl Connection {
    /// The endpoints, separated by commas, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// The id of the cluster that answered when this was opened. `None`: it did not say, as a log-in does not, nor a
    /// cluster that wants one and denies everything without.
    #[must_use]
    pub fn cluster_id(&self) -> Option<u64> {
        self.shared.cluster_id
    }

    /// How long an answer may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    /// The runtime that the connection lives on: for tasks that must outlive the runtime of one test.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    /// Has an endpoint reached by TLS if its URL says so; the URL for etcd-client.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is not a valid endpoint.
    pub(crate) fn prepare_endpoint(&self, endpoint: &str) -> Result<String, Error> {
        let invalid = |why| self.error(Operation::ChangeEndpoints, ErrorKind::Invalid(why));
        let address = address::address(endpoint, self.shared.encryption.is_used()).map_err(invalid)?;
        self.shared.encryption.add(&address).map_err(invalid)?;
        Ok(address.url)
    }

    /// etcd-client's own client, for whatever has no name here. Its writes are not among [`Connection::own_revisions`], which
    /// say less from now on.
    #[must_use]
    pub fn raw(&self) -> Client {
        if let Some(writes) = &self.shared.own_writes {
            writes.lose_track();
        }
        self.client()
    }

    /// etcd-client's own client, for calls that change no key, or go through `client/write.rs`.
    pub(crate) fn client(&self) -> Client {
        self.shared.client.clone()
    }

    /// The memory of its own writes, if it has one.
    pub(crate) fn own_writes(&self) -> Option<&OwnWrites> {
        self.shared.own_writes.as_ref()
    }

    /// A client for keys that accepts large answers.
    pub(crate) fn kv(&self) -> KvClient {
        let client = self.shared.client.kv_client();
        client.max_decoding_message_size(LARGEST_ANSWER).max_encoding_message_size(LARGEST_ANSWER)
    }

    /// A client for watches that accepts large answers.
    pub(crate) fn watches(&self) -> WatchClient {
        self.shared.client.watch_client().max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Makes one call, within the request timeout, and puts its error into context.
    ///
    /// # Errors
    /// Whatever the call says, or [`ErrorKind::TimedOut`].
    pub(crate) async fn call<T>(
        &self,
        operation: impl Fn() -> Operation,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        let generation = self.generation();
        let answer = self.call_within(self.shared.request_timeout, operation, call).await;
        if matches!(&answer, Err(error) if error.kind == ErrorKind::TimedOut) {
            self.leave(generation).await;
        }
        if matches!(&answer, Err(error) if error.kind == ErrorKind::UsersChanged) {
            Box::pin(self.log_in_again()).await;
        }
        answer
    }

    /// Whether another member can take over.
    pub(crate) fn has_other_members(&self) -> bool {
        self.shared.members.are_several()
    }

    /// The number of the connection that calls use now.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.members.generation()
    }

    /// Leaves a connection whose member cannot serve, if there are other members. Nothing is sent again: a write may have
    /// been done.
    pub(crate) async fn leave(&self, generation: u64) {
        self.shared.members.leave(generation).await;
    }

    /// Reads: once more if the connection broke under it, perhaps from another endpoint; and again while a member of
    /// several says that it cannot serve, as all do until they have a new leader. All together take no longer than the
    /// request timeout.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(crate) async fn read(
        &self,
        operation: impl Fn() -> Operation,
        key: Vec<u8>,
        options: GetOptions,
    ) -> Result<GetResponse, Error> {
        let again = || async {
            let (mut kv, mut has_broken) = (self.kv(), false);
            loop {
                let error = match kv.get(key.clone(), Some(options.clone())).await {
                    Err(error) => error,
                    answer => return answer,
                };
                match ErrorKind::of(&error) {
                    ErrorKind::Unreachable if !has_broken => has_broken = true,
                    ErrorKind::CannotServe(_) if self.has_other_members() => tokio::time::sleep(NO_LEADER).await,
                    _ => return Err(error),
                }
            }
        };
        self.call_again(operation, again).await
    }

    /// Makes one call, within a time of its own, and puts its error into context.
    ///
    /// # Errors
    /// Whatever the call says, or [`ErrorKind::TimedOut`].
    pub(crate) async fn call_within<T>(
        &self,
        within: Duration,
        operation: impl Fn() -> Operation,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        // Calls are large futures: in a box, what they are in stays small.
        match tokio::time::timeout(within, Box::pin(call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let failed = self.error(operation(), ErrorKind::of(&error));
                Err(Error { source: Some(Box::new(error)), ..failed })
            }
            Err(_) => Err(self.error(operation(), ErrorKind::TimedOut)),
        }
    }

    /// For tests that make no call.
    #[cfg(test)]
    pub(crate) async fn to_nobody() -> Self {
        let (endpoint, runtime) = ("http://127.0.0.1:1", Handle::current());
        let encryption = Encryption::new(Tls::default());
        let (nobody, members) = Failover::new(runtime.clone(), Arc::clone(&encryption.encrypted));
        let client = Client::connect_with_balanced_channel([endpoint], None, nobody).await;
        let request_timeout = Duration::ZERO;
        let shared = Shared {
            client: client.unwrap(),
            members,
            cluster_id: None,
            user: None,
            endpoint: endpoint.into(),
            encryption,
            request_timeout,
            runtime,
            own_writes: None,
            own_watches: None,
        };
        Self { shared: Arc::new(shared) }
    }

    /// An error of this connection. A denial names its user.
    #[must_use]
    pub fn error(&self, operation: Operation, kind: ErrorKind) -> Error {
        let kind = kind.with_user(self.shared.user.as_deref());
        Error { operation, endpoint: self.shared.endpoint.clone(), kind, source: None }
    }
}
