//! A sandbox: keys of one test's own, and what tests of etcd code always need. Opening one takes no round trip
//! once the process has its connection, and closing one none at all: the run is swept as a whole.

mod exit;
mod history;
mod name;
#[cfg(feature = "private")]
pub(crate) mod private;
pub(crate) mod process;
mod shutdown;
mod wait;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use etcd_keys::watch::Event;
use etcd_keys::{Connection, Keeper, KeyValue, Keys, Lease};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::expect::{Contents, Difference};
use crate::workspace::Target;

/// How long a sandbox's lease lives when nobody keeps it alive any more.
const LEASE: Duration = Duration::from_secs(10);

/// Keys of one test's own, below the run's prefix: whatever the test does with them, no other test sees it. Cheap
/// to clone. It is a [`Keys`], with keys relative to its prefix:
///
/// ```no_run
/// # async fn example() -> Result<(), etcd_sandbox::Error> {
/// use etcd_sandbox::Sandbox;
///
/// let sandbox = Sandbox::open("racks").await?;
/// sandbox.put("racks/1", "8 blades").await?;
/// sandbox.wait_for("racks/1", "8 blades").await?;
/// sandbox.expect_keys([("racks/1", "8 blades")]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    keys: Keys,
    prefix: String,
    target: Arc<Target>,
    since: i64,
    lease: OnceCell<Keeper>,
    #[cfg(feature = "private")]
    server: Option<private::Server>,
}

impl Sandbox {
    /// Opens a sandbox that is named after a test. No two are the same, also of the same name.
    ///
    /// # Errors
    /// [`Error::NoEtcd`] within seconds; and what may be wrong with the environment. An error of a process's first
    /// sandbox is the error of all.
    pub async fn open(name: &str) -> Result<Self, Error> {
        let home = process::home().await?;
        Self::below(&home.connection, &home.prefix, name, Arc::clone(&home.target), home.since)
    }

    /// Opens a sandbox for a test that is no async function; [`Sandbox::block_on`] then runs what is.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_blocking(name: &str) -> Result<Self, Error> {
        let runtime = process::runtime()?;
        if Handle::try_current().is_err() {
            return runtime.block_on(Self::open(name));
        }
        // In an async test, fixtures may be plain functions all the same. What is waited for runs on a thread of its own.
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| runtime.block_on(Self::open(name)));
            opening
                .join()
                .unwrap_or_else(|_| Err(Error::system("open a sandbox")(std::io::Error::other("it panicked"))))
        })
    }

    fn below(connection: &Connection, run: &str, name: &str, target: Arc<Target>, since: i64) -> Result<Self, Error> {
        let name = name::unique(name).map_err(Error::system("name a sandbox"))?;
        let prefix = format!("{run}{name}/");
        let keys = connection.keys(&prefix)?;
        Ok(Self(Arc::new(Inner {
            keys,
            prefix,
            target,
            since,
            lease: OnceCell::new(),
            #[cfg(feature = "private")]
            server: None,
        })))
    }

    /// The keys of the sandbox; it derefs to them, too.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The prefix in etcd, with a slash at its end: for code under test that wants one.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The endpoints, as URLs.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        self.0.target.endpoints()
    }

    /// etcd-client's own client. It sees all keys: prepend [`Sandbox::prefix`] to yours.
    #[must_use]
    pub fn raw(&self) -> etcd_client::Client {
        self.0.keys.connection().raw()
    }

    /// A lease that lives as long as the sandbox, and ends with it: granted when it is first asked for, renewed in
    /// the background, revoked when the last clone of the sandbox is dropped.
    ///
    /// # Errors
    /// Whatever granting a lease may end in.
    pub async fn lease(&self) -> Result<&Lease, Error> {
        let granted = self.0.lease.get_or_try_init(|| async { self.0.keys.grant(LEASE).await?.keep().await });
        Ok(granted.await?.lease())
    }

    /// Waits until a key has a value, at most 10 s.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] tells what the value was instead.
    pub async fn wait_for(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<KeyValue, Error> {
        let value = value.as_ref();
        let wanted = format!("`{}`", etcd_keys::text::Escaped(value));
        let key = key.as_ref();
        let found =
            wait::until(self, key, wait::DEFAULT_TIMEOUT, &wanted, |kv| kv.is_some_and(|kv| kv.value == value)).await?;
        found.ok_or_else(|| {
            Error::Etcd(Arc::new(
                self.keys()
                    .connection()
                    .error(etcd_keys::Operation::Read(etcd_keys::KeyRange::key(key)), etcd_keys::ErrorKind::NoKey),
            ))
        })
    }

    /// Waits until a key is absent, at most 10 s.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] tells what the value is.
    pub async fn wait_absent(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        wait::absent(self, key.as_ref(), wait::DEFAULT_TIMEOUT).await
    }

    /// Waits until a key, or its absence, is as it should be; `wanted` completes "the key was not … in time".
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] tells what the value was instead.
    pub async fn wait_until(
        &self,
        key: impl AsRef<[u8]>,
        within: Duration,
        wanted: &str,
        satisfies: impl Fn(Option<&KeyValue>) -> bool,
    ) -> Result<Option<KeyValue>, Error> {
        wait::until(self, key.as_ref(), within, wanted, satisfies).await
    }

    /// That the sandbox has exactly these keys and values.
    ///
    /// # Errors
    /// [`Error::Keys`] tells what is missing, unexpected, or different.
    pub async fn expect_keys<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        expected: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let pair = |(key, value): (K, V)| (key.as_ref().to_vec(), value.as_ref().to_vec());
        let expected: Contents = expected.into_iter().map(pair).collect();
        let found: Contents = self.prefix_contents().await?;
        match Difference::between(self.prefix(), &expected, &found) {
            Some(difference) => Err(difference.into()),
            None => Ok(()),
        }
    }

    async fn prefix_contents(&self) -> Result<Contents, Error> {
        let all = self.keys().prefix("").await?;
        Ok(all.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect())
    }

    /// What happened in the sandbox so far, in order, with previous values.
    ///
    /// # Errors
    /// [`Error::Compacted`] if that cannot be told any more.
    pub async fn history(&self) -> Result<Vec<Event>, Error> {
        history::since(self.keys(), self.0.since).await
    }

    /// Runs a future to its end, for tests that are no async functions.
    ///
    /// # Panics
    /// In an async function, where `.await` is the way.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.keys.connection().runtime().block_on(future)
    }
}

#[cfg(feature = "private")]
impl Sandbox {
    /// Opens a sandbox on an etcd of its own, for a test that changes what is everybody's: users, alarms,
    /// compaction, members. The etcd is gone with the sandbox.
    ///
    /// # Errors
    /// [`Error::Private`] if no etcd can be had.
    pub async fn open_private(name: &str) -> Result<Self, Error> {
        let (server, endpoints) = private::start().await?;
        let target = Arc::new(Target::Private(endpoints));
        let connecting = Arc::clone(&target);
        let connected = process::runtime()?.spawn(async move { crate::connect::connect_to(&connecting).await }).await;
        let connection = connected.map_err(|error| Error::Private(error.to_string()))??;
        let run = private::prefix()?;
        let mut sandbox = Self::below(&connection, &run, name, target, 1)?;
        if let Some(inner) = Arc::get_mut(&mut sandbox.0) {
            inner.server = Some(server);
        }
        Ok(sandbox)
    }

    /// The test's own server; `None`: the sandbox is on the run's.
    #[must_use]
    pub fn server(&self) -> Option<&private::Server> {
        self.0.server.as_ref()
    }
}

impl Deref for Sandbox {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.0.keys
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sandbox(`{}` at {})", self.prefix(), self.0.target)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = self.lease.take() {
            // If it fails, the lease runs out.
            self.keys.connection().runtime().spawn(async move { keeper.lease().revoke().await });
        }
    }
}
