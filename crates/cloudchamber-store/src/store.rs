//! The store as a thing you hold: connected, disconnected, and what its operations share. The operations are in files
//! of their own.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use etcd_keys::delete::{Deletion, Preview};
use etcd_keys::kv::Get;
use etcd_keys::{Connect, KeyRange, Keys};
use tokio::sync::{Mutex, watch};

use crate::config::{Config, NamespaceError};
use crate::fault::Fault;
use crate::trace::Trace;

/// Cloud Chamber's store. Cheap to clone; clones share the connection, and its end.
///
/// Every operation answers the revision that it saw or made, and ends within the request timeout; listing, and reading
/// and deleting many keys, take several requests, each within it, and listing and deleting by prefix wait 5 s for a
/// server that goes away meanwhile.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// `None`: disconnected.
    session: RwLock<Option<Session>>,
    /// Whether it is disconnected, for those who wait.
    ended: watch::Sender<bool>,
    /// Held while endpoints are exchanged.
    refreshing: Mutex<()>,
    connected_at: i64,
    trace: Trace,
}

/// What an open connection is.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) keys: Keys,
    /// Client URLs, as they were given, or as the cluster named them.
    pub(crate) endpoints: Vec<String>,
    pub(crate) connect_timeout: Duration,
}

/// Why the store is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings exclude each other, or lack something.
    #[error(transparent)]
    Settings(#[from] NamespaceError),
    /// No etcd answers, or it refuses; or cleaning failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// Connects, and proves that an etcd answers. With `PreCleanStore`, all that is under `Test/Standard/` is deleted
    /// first.
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
    /// [`ConnectError::Settings`] before anything is asked; [`ConnectError::Fault`] within the connect timeout where no
    /// etcd answers, and within the request timeout for each request after that.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let (namespace, to_clean) = (config.namespace()?, config.to_clean()?);
        let endpoints = config.endpoints();
        let connect_timeout = config.connect_timeout;
        let connect = Connect::new(&endpoints).connect_timeout(connect_timeout).request_timeout(config.request_timeout);
        let connection = connect.connect().await.map_err(Fault::of("connect"))?;
        let keys = connection.namespace(namespace).map_err(Fault::of("connect"))?;
        if let Some(range) = to_clean {
            clean(&keys, range).await.map_err(Fault::of("clean the test namespace"))?;
        }
        let connected_at = current_revision(&keys).await?;
        let trace = Trace::new(config.trace_level);
        trace.done("connect", Ok::<_, &Fault>(connected_at));
        let session = RwLock::new(Some(Session { keys, endpoints, connect_timeout }));
        let (ended, refreshing) = (watch::Sender::new(false), Mutex::default());
        Ok(Self(Arc::new(Inner { session, ended, refreshing, connected_at, trace })))
    }

    /// The store's revision when it connected, after the cleaning if there was one.
    #[must_use]
    pub fn connected_at(&self) -> i64 {
        self.0.connected_at
    }

    /// The endpoints that are used.
    ///
    /// # Errors
    /// [`Fault::Disconnected`].
    pub fn endpoints(&self) -> Result<Vec<String>, Fault> {
        Ok(self.session()?.endpoints)
    }

    /// Disconnects, this and all clones. Operations that are under way end as they would have; watches end with
    /// [`Fault::Disconnected`], and so does whatever is begun later.
    ///
    /// # Errors
    /// [`Fault::Disconnected`], if it was.
    pub fn disconnect(&self) -> Result<(), Fault> {
        let session = self.0.session.write().unwrap_or_else(PoisonError::into_inner).take();
        self.0.ended.send_replace(true);
        session.ok_or(Fault::Disconnected)?;
        self.0.trace.disconnected();
        Ok(())
    }

    pub(crate) fn session(&self) -> Result<Session, Fault> {
        self.0.session.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Fault::Disconnected)
    }

    pub(crate) fn keys(&self) -> Result<Keys, Fault> {
        let session = self.0.session.read().unwrap_or_else(PoisonError::into_inner);
        session.as_ref().map(|session| session.keys.clone()).ok_or(Fault::Disconnected)
    }

    /// Names the endpoints that are used from now on.
    pub(crate) fn set_endpoints(&self, endpoints: &[String]) {
        if let Some(session) = self.0.session.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            session.endpoints = endpoints.to_vec();
        }
    }

    pub(crate) fn refreshing(&self) -> &Mutex<()> {
        &self.0.refreshing
    }

    /// Tells when the store is disconnected.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.0.ended.subscribe()
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

/// The revision that etcd is at: one read of no key's value.
pub(crate) async fn current_revision(keys: &Keys) -> Result<i64, Fault> {
    let nothing = Get::new(KeyRange::key("?")).count_only();
    let answer = keys.send(nothing).await.map_err(Fault::of("ask for the revision"))?;
    Ok(answer.revision)
}

/// Deletes test data, in chunks.
async fn clean(keys: &Keys, range: KeyRange) -> Result<(), etcd_keys::Error> {
    let preview = Preview::of(keys.connection(), range).await?;
    Deletion::new(keys.connection(), preview).run(|_| {}).await.map(drop)
}
