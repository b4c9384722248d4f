//! The store itself: connecting, disconnecting, and what its operations share. The operations are in files of their own.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use etcd_keys::kv::Get;
use etcd_keys::{Connect, KeyRange, Keys};
use tokio::sync::{Mutex, watch};

use crate::config::{Config, Security};
use crate::error::{Error, ErrorKind, Failure};
use crate::record::Answer;
use crate::trace::Trace;

/// Cloud Chamber's store. Cheap to clone; clones share the connection, and are disconnected together.
///
/// Every operation returns the revision that it made or read. An operation of one request ends within the request
/// timeout. Listing, and reading or deleting many keys, take several requests, each within the request timeout; listing
/// and deleting by prefix wait 5 s more for a server that goes away meanwhile.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// `None`: disconnected.
    session: RwLock<Option<Session>>,
    /// Whether the store is disconnected, for watches that wait.
    disconnected: watch::Sender<bool>,
    /// Held while the endpoints are refreshed.
    refreshing: Mutex<()>,
    connected_at: i64,
    trace: Trace,
}

/// An open connection.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) keys: Keys,
    /// Client URLs, from the configuration or from the members of the cluster.
    pub(crate) endpoints: Vec<String>,
    pub(crate) security: Security,
    pub(crate) connect_timeout: Duration,
}

impl Session {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let (namespace, endpoints, connect_timeout) = (config.namespace()?, config.endpoints(), config.connect_timeout);
        let security = config.service.security.clone();
        let connect = security.apply(Connect::new(&endpoints)).connect_timeout(connect_timeout);
        let keys = connect.request_timeout(config.request_timeout).connect().await?.keys(namespace)?;
        Ok(Self { keys, endpoints, security, connect_timeout })
    }
}

impl Store {
    /// Connects, and checks that an etcd answers. With `PreCleanStore`, all keys under `Test/Standard/` are deleted.
    ///
    /// ```no_run
    /// use cloudchamber_store::{Config, Root, Store};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = Store::connect(&Config::load("configs/cloudchamber.yaml")?).await?;
    /// let key = Root::StoreTest.key("greeting")?;
    /// let created = store.create(&key, "hello").await?;
    /// let read = store.read(&key).await?;
    /// assert_eq!(read.value.map(|record| record.revision), Some(created));
    /// store.disconnect()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] before anything is sent. If no etcd answers, within the connect timeout; then within
    /// the request timeout for each request.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let failed = |failure| Error::new("connect", failure);
        let to_clean = config.to_clean().map_err(|kind| failed(kind.into()))?;
        let session = Session::open(config).await.map_err(failed)?;
        if let Some(range) = to_clean {
            let cleaned = clean(&session.keys, range).await;
            cleaned.map_err(|error| Error::new("clean the test namespace", error))?;
        }
        let connected_at = current_revision(&session.keys).await.map_err(failed)?;
        let trace = Trace::new(config.trace_level);
        trace.done("connect", Ok(connected_at));
        let session = RwLock::new(Some(session));
        let (disconnected, refreshing) = (watch::Sender::new(false), Mutex::default());
        Ok(Self(Arc::new(Inner { session, disconnected, refreshing, connected_at, trace })))
    }

    /// etcd's revision when the store connected, after `PreCleanStore`.
    #[must_use]
    pub fn connected_at(&self) -> i64 {
        self.0.connected_at
    }

    /// The endpoints in use.
    ///
    /// # Errors
    /// [`ErrorKind::Disconnected`].
    pub fn endpoints(&self) -> Result<Vec<String>, Error> {
        let session = self.session().map_err(|failure| Error::new("list the endpoints", failure))?;
        Ok(session.endpoints)
    }

    /// Disconnects this store and all its clones. Operations that have begun finish normally; watches, and all later
    /// operations, end with [`ErrorKind::Disconnected`].
    ///
    /// # Errors
    /// [`ErrorKind::Disconnected`], if the store is disconnected already.
    pub fn disconnect(&self) -> Result<(), Error> {
        let session = self.0.session.write().unwrap_or_else(PoisonError::into_inner).take();
        self.0.disconnected.send_replace(true);
        session.ok_or_else(|| Error::new("disconnect", ErrorKind::Disconnected))?;
        self.0.trace.disconnected();
        Ok(())
    }

    pub(crate) fn session(&self) -> Result<Session, Failure> {
        let session = self.0.session.read().unwrap_or_else(PoisonError::into_inner);
        session.clone().ok_or_else(|| ErrorKind::Disconnected.into())
    }

    pub(crate) fn keys(&self) -> Result<Keys, Failure> {
        let session = self.0.session.read().unwrap_or_else(PoisonError::into_inner);
        session.as_ref().map(|session| session.keys.clone()).ok_or_else(|| ErrorKind::Disconnected.into())
    }

    /// Names the operation that a failure belongs to, and logs what became of it.
    pub(crate) fn finish<T>(
        &self,
        operation: impl fmt::Display,
        outcome: Result<Answer<T>, Failure>,
    ) -> Result<Answer<T>, Error> {
        let outcome = outcome.map_err(|failure| Error::new(&operation, failure));
        self.trace().done(operation, outcome.as_ref().map(|answer| answer.revision));
        outcome
    }

    /// Notes which endpoints are in use from now on.
    pub(crate) fn set_endpoints(&self, endpoints: &[String]) {
        if let Some(session) = self.0.session.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            session.endpoints = endpoints.to_vec();
        }
    }

    pub(crate) fn refreshing(&self) -> &Mutex<()> {
        &self.0.refreshing
    }

    /// Becomes true when the store is disconnected.
    pub(crate) fn disconnected(&self) -> watch::Receiver<bool> {
        self.0.disconnected.subscribe()
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.0.trace
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoints() {
            Ok(endpoints) => write!(f, "Store(at {})", endpoints.join(",")),
            Err(_) => f.write_str("Store(disconnected)"),
        }
    }
}

/// etcd's current revision, by a read that returns no value.
pub(crate) async fn current_revision(keys: &Keys) -> Result<i64, Failure> {
    let nothing = Get::range(KeyRange::key("?")).count_only();
    Ok(keys.send(nothing).await?.revision)
}

/// Deletes all keys in a range, in chunks.
async fn clean(keys: &Keys, range: KeyRange) -> Result<(), etcd_keys::Error> {
    keys.connection().all_keys().delete_in_chunks(range).await.map(drop)
}
