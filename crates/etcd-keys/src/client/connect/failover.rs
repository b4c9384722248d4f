//! One open connection at a time to one of several endpoints; the next endpoint when it breaks. etcd-client's
//! own balancing sends every second call to a dead endpoint. Never sends a request twice: what the old connection
//! did not even begin to send goes over the new one.
//!
//! All tasks of a connection run on one runtime, whoever calls: a connection that many tests share must not
//! die with the runtime of the test that happened to open it.

mod identity;
mod unsent;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::BalancedChannelBuilder;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::uri::Authority;
use tonic::codegen::http::{Request, Response, Uri};
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use self::unsent::Unsent;
use crate::client::error::{ErrorKind, OtherCluster};
use crate::client::tls::Connector;

type Answer = Result<Response<Body>, BoxError>;

/// Endpoints that can be handed over before the first call takes them; etcd-client waits for room.
const ENDPOINTS: usize = 1024;

/// How long each member may take to say which cluster it is of; the second time, if none has let us in, and one was slow.
const IDENTITY_TIMEOUTS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

const ENDED: &str = "the runtime that the connection was opened on has ended";

/// Makes etcd-client's channel.
pub(super) struct Failover {
    members: Members,
    sender: Sender<Change<Uri, Endpoint>>,
}

/// Which endpoints are reached by TLS, and how. etcd-client is given all as `http`: it would make connections by TLS of
/// its own. A connection that goes to other endpoints shares this list.
pub(super) type Encrypted = Arc<std::sync::Mutex<HashMap<Authority, Connector>>>;

impl Failover {
    /// Connections live on `runtime`.
    pub(super) fn new(runtime: Handle, encrypted: Encrypted) -> (Self, Members) {
        let (sender, changes) = mpsc::channel(ENDPOINTS);
        let count = Arc::new(AtomicUsize::new(0));
        let state = State {
            changes,
            endpoints: Vec::new(),
            count: count.clone(),
            current: 0,
            open: None,
            failed: (0, None),
            cluster_id: None,
        };
        let generation = Arc::new(AtomicU64::new(0));
        let members = Members { runtime, encrypted, generation, count, state: Arc::new(Mutex::new(state)) };
        (Self { members: members.clone(), sender }, members)
    }
}

impl BalancedChannelBuilder for Failover {
    type Error = etcd_client::Error;

    fn balanced_channel(self, _: usize) -> Result<(etcd_client::Channel, Sender<Change<Uri, Endpoint>>), Self::Error> {
        Ok((etcd_client::Channel::Custom(BoxCloneSyncService::new(self.members)), self.sender))
    }
}

/// The members of a cluster, one of which is connected.
#[derive(Clone)]
pub(super) struct Members {
    runtime: Handle,
    encrypted: Encrypted,
    /// Counts opened connections, so that the failure of an old connection does not close a new one.
    generation: Arc<AtomicU64>,
    /// How many endpoints the latest request had to choose from.
    count: Arc<AtomicUsize>,
    state: Arc<Mutex<State>>,
}

struct State {
    changes: Receiver<Change<Uri, Endpoint>>,
    endpoints: Vec<(Uri, Endpoint)>,
    /// [`Members::count`].
    count: Arc<AtomicUsize>,
    /// The endpoint that is tried first.
    current: usize,
    open: Option<Channel>,
    /// Counts attempts that failed, and why the last one did.
    failed: (u64, Option<Refused>),
    /// Of the first member that answered, if there are several endpoints.
    cluster_id: Option<u64>,
}

/// Why no endpoint let us in, for all who waited.
#[derive(Clone, Debug)]
struct Refused(Arc<dyn std::error::Error + Send + Sync + 'static>);

impl Refused {
    fn is_slow(&self) -> bool {
        self.0.is::<Slow>()
    }

    /// How much it says, if several endpoints fail.
    fn says(&self) -> u8 {
        match () {
            () if self.0.is::<OtherCluster>() => 2,
            () if self.is_slow() => 1,
            () => 0,
        }
    }
}

/// A member that did not say in time which cluster it is of. Counts as unreachable by its first words, as tonic's own
/// transport errors do.
#[derive(Debug, thiserror::Error)]
#[error("transport error: the member did not say which cluster it is of")]
struct Slow;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl Members {
    /// The open connection, or a new one.
    async fn channel(&self) -> Result<(u64, Channel), BoxError> {
        let (open, failed) = {
            let mut state = self.state.lock().await;
            (state.open(self.generation()), state.failed.0)
        };
        match open {
            Some(open) => Ok(open),
            // Who asked may have no time for all endpoints, and would begin with the same one the next time.
            None => match self.runtime.spawn(self.clone().connect(failed)).await {
                Ok(channel) => channel,
                Err(_) => Err(ENDED.into()),
            },
        }
    }

    /// A connection to the first endpoint that lets us in, unless somebody else was quicker; or has failed since
    /// `failed` attempts had: all who wait have one attempt, and do not make theirs one after the other.
    async fn connect(self, failed: u64) -> Result<(u64, Channel), BoxError> {
        let mut state = self.state.lock().await;
        if let Some(open) = state.open(self.generation()) {
            return Ok(open);
        }
        if let (attempts, Some(refused)) = &state.failed
            && *attempts != failed
        {
            return Err(refused.clone().into());
        }
        let mut failure = None;
        for identity_timeout in IDENTITY_TIMEOUTS {
            match self.first_open(&mut state, identity_timeout).await {
                Ok(channel) => {
                    let generation = self.generation.fetch_add(1, SeqCst) + 1;
                    state.open = Some(channel.clone());
                    return Ok((generation, channel));
                }
                Err(refused) => failure = refused,
            }
            if !failure.as_ref().is_some_and(Refused::is_slow) {
                break;
            }
        }
        state.failed = (state.failed.0 + 1, failure.clone());
        Err(failure.map_or_else(|| "there is no endpoint".into(), BoxError::from))
    }

    /// A connection to the first endpoint that lets us in, else the failure that says most: another cluster, a member that
    /// was slow, the last one.
    async fn first_open(&self, state: &mut State, identity_timeout: Duration) -> Result<Channel, Option<Refused>> {
        let mut failure: Option<Refused> = None;
        for _ in 0..state.endpoints.len() {
            let Some((_, endpoint)) = state.endpoints.get(state.current) else { break };
            let endpoint = endpoint.clone();
            match self.open(&endpoint, state, identity_timeout).await {
                Ok(channel) => return Ok(channel),
                Err(refused) if failure.as_ref().is_none_or(|known| known.says() <= refused.says()) => {
                    failure = Some(refused);
                }
                Err(_) => {}
            }
            state.advance();
        }
        Err(failure)
    }

    /// A connection to an endpoint, which must be a member of the same cluster as the endpoints before it. One that cannot
    /// say which, as a cluster that wants a user first, is found out later.
    async fn open(
        &self,
        endpoint: &Endpoint,
        state: &mut State,
        identity_timeout: Duration,
    ) -> Result<Channel, Refused> {
        let connector = {
            let encrypted = self.encrypted.lock().unwrap_or_else(PoisonError::into_inner);
            endpoint.uri().authority().and_then(|authority| encrypted.get(authority)).cloned()
        };
        let opened = match connector {
            None => endpoint.connect().await,
            Some(connector) => {
                endpoint.connect_with_connector(tower::service_fn(move |uri| connector.clone().connect(uri))).await
            }
        };
        let channel = opened.map_err(|error| Refused(Arc::new(error)))?;
        if state.endpoints.len() > 1 {
            let identity = timeout(identity_timeout, identity::cluster_id(endpoint, channel.clone()));
            // A write to a member of who knows which cluster cannot be taken back.
            if let Some(now) = identity.await.map_err(|_| Refused(Arc::new(Slow)))? {
                let before = *state.cluster_id.get_or_insert(now);
                if before != now {
                    return Err(Refused(Arc::new(OtherCluster { before, now })));
                }
            }
        }
        Ok(channel)
    }

    /// Whether there are several endpoints: another member can take over. Changed endpoints count from the next request on.
    pub(super) fn are_several(&self) -> bool {
        self.count.load(SeqCst) > 1
    }

    /// The number of the connection that calls use now.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Leaves a connection whose member cannot serve, if there are other members. The next call connects to another one.
    pub(super) async fn leave(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.endpoints.len() > 1 && self.generation() == generation && state.open.take().is_some() {
            state.advance();
        }
    }

    /// Sends a request over a connection that [`Members::channel`] gave; if it breaks, the next one is another.
    async fn send(&self, (generation, mut channel): (u64, Channel), request: Request<Body>) -> Answer {
        let answer = async {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        match answer.await {
            Ok(response) => {
                if cannot_serve(&response) {
                    self.leave(generation).await;
                }
                Ok(response)
            }
            Err(error) => {
                self.lost(generation).await;
                Err(error.into())
            }
        }
    }

    async fn lost(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if self.generation() == generation && state.open.take().is_some() {
            state.advance();
        }
    }
}

/// Whether a member answers that it cannot serve, before it has begun to answer anything else.
fn cannot_serve(response: &Response<Body>) -> bool {
    let status = Status::from_header_map(response.headers());
    let kind = status.map(|status| ErrorKind::of_status(status.code(), status.message()));
    matches!(kind, Some(ErrorKind::CannotServe(_)))
}

impl State {
    /// The open connection, of the endpoints as they are now.
    fn open(&mut self, generation: u64) -> Option<(u64, Channel)> {
        self.take_changes();
        self.open.clone().map(|channel| (generation, channel))
    }

    fn take_changes(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            match change {
                Change::Insert(uri, endpoint) => self.endpoints.push((uri, endpoint)),
                Change::Remove(uri) => {
                    let current = self.endpoints.get(self.current).map(|(uri, _)| uri.clone());
                    self.endpoints.retain(|(known, _)| *known != uri);
                    if current.as_ref() == Some(&uri) {
                        self.open = None;
                    }
                    let place = self.endpoints.iter().position(|(known, _)| Some(known) == current.as_ref());
                    self.current = place.unwrap_or(0);
                }
            }
        }
        self.count.store(self.endpoints.len(), SeqCst);
    }

    fn advance(&mut self) {
        self.current = (self.current + 1).checked_rem(self.endpoints.len()).unwrap_or(0);
    }
}

impl Service<Request<Body>> for Members {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let members = self.clone();
        Box::pin(async move {
            let open = members.channel().await?;
            let (kept, request) = Unsent::keep(request);
            match members.send(open, request).await {
                Ok(response) => Ok(response),
                Err(error) => match kept.take_back() {
                    Some(request) => members.send(members.channel().await?, request).await,
                    None => Err(error),
                },
            }
        })
    }
}
