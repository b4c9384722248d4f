//! One open connection at a time to one of several endpoints; the next endpoint when it breaks. etcd-client's
//! own balancing sends every second call to a dead endpoint. Never sends a request twice: what the old connection
//! did not even begin to send goes over the new one.
//!
//! All tasks of a connection run on one runtime, whoever calls: a connection that many tests share must not
//! die with the runtime of the test that happened to open it.

mod unsent;

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use etcd_client::BalancedChannelBuilder;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tonic::body::Body;
use tonic::codegen::http::uri::Authority;
use tonic::codegen::http::{Request, Response, Uri};
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use self::unsent::Unsent;
use crate::client::tls::Connector;

type Answer = Result<Response<Body>, BoxError>;

/// Endpoints that can be handed over before the first call takes them; etcd-client waits for room.
const ENDPOINTS: usize = 1024;

const ENDED: &str = "the runtime that the connection was opened on has ended";

/// Makes etcd-client's channel.
pub(super) struct Failover {
    /// Where connections live.
    pub(super) runtime: Handle,
    pub(super) encrypted: Encrypted,
}

/// Which endpoints are reached by TLS, and how. etcd-client is given all as `http`: it would make connections by TLS of
/// its own. A connection that goes to other endpoints shares this list.
pub(super) type Encrypted = Arc<std::sync::Mutex<HashMap<Authority, Connector>>>;

impl BalancedChannelBuilder for Failover {
    type Error = etcd_client::Error;

    fn balanced_channel(self, _: usize) -> Result<(etcd_client::Channel, Sender<Change<Uri, Endpoint>>), Self::Error> {
        let (sender, changes) = mpsc::channel(ENDPOINTS);
        let state = State { changes, endpoints: Vec::new(), current: 0, generation: 0, open: None, failed: (0, None) };
        let members = Members { runtime: self.runtime, encrypted: self.encrypted, state: Arc::new(Mutex::new(state)) };
        Ok((etcd_client::Channel::Custom(BoxCloneSyncService::new(members)), sender))
    }
}

#[derive(Clone)]
struct Members {
    runtime: Handle,
    encrypted: Encrypted,
    state: Arc<Mutex<State>>,
}

struct State {
    changes: Receiver<Change<Uri, Endpoint>>,
    endpoints: Vec<(Uri, Endpoint)>,
    /// Which of them is tried first.
    current: usize,
    /// Counts what was opened, so that the failure of an old connection does not close a new one.
    generation: u64,
    open: Option<Channel>,
    /// Counts attempts that failed, and why the last one did.
    failed: (u64, Option<Refused>),
}

/// Why no endpoint let us in, for all who waited.
#[derive(Clone, Debug)]
struct Refused(Arc<tonic::transport::Error>);

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
            (state.open(), state.failed.0)
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
        if let Some(open) = state.open() {
            return Ok(open);
        }
        if let (attempts, Some(refused)) = &state.failed
            && *attempts != failed
        {
            return Err(refused.clone().into());
        }
        let mut failure: Option<Refused> = None;
        for _ in 0..state.endpoints.len() {
            let Some((_, endpoint)) = state.endpoints.get(state.current) else { break };
            let endpoint = endpoint.clone();
            match self.open(&endpoint).await {
                Ok(channel) => {
                    state.generation += 1;
                    state.open = Some(channel.clone());
                    return Ok((state.generation, channel));
                }
                Err(error) => failure = Some(Refused(Arc::new(error))),
            }
            state.advance();
        }
        state.failed = (state.failed.0 + 1, failure.clone());
        Err(failure.map_or_else(|| "there is no endpoint".into(), BoxError::from))
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        let connector = {
            let encrypted = self.encrypted.lock().unwrap_or_else(PoisonError::into_inner);
            endpoint.uri().authority().and_then(|authority| encrypted.get(authority)).cloned()
        };
        match connector {
            None => endpoint.connect().await,
            Some(connector) => {
                endpoint.connect_with_connector(tower::service_fn(move |uri| connector.clone().connect(uri))).await
            }
        }
    }

    /// Sends a request over a connection that [`Members::channel`] gave; if it breaks, the next one is another.
    async fn send(&self, (generation, mut channel): (u64, Channel), request: Request<Body>) -> Answer {
        let answer = async {
            std::future::poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        match answer.await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.lost(generation).await;
                Err(error.into())
            }
        }
    }

    async fn lost(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation && state.open.take().is_some() {
            state.advance();
        }
    }
}

impl State {
    /// The open connection, of the endpoints as they are now.
    fn open(&mut self) -> Option<(u64, Channel)> {
        self.take_changes();
        self.open.clone().map(|channel| (self.generation, channel))
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
