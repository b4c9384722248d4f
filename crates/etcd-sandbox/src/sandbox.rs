//! A sandbox: keys of one test's own, and what tests of etcd code need. Once the process has its connection, opening a
//! sandbox takes no round trip. Closing takes none either: the run is swept as a whole.

#[cfg(feature = "tracing")]
pub(crate) mod events;
mod exit;
#[cfg(feature = "tracing")]
mod kept_events;
mod name;
#[cfg(feature = "private")]
pub(crate) mod private;
pub(crate) mod process;
pub(crate) mod recorder;
mod shutdown;
mod terminated;
mod wait;

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use etcd_keys::watch::Event;
use etcd_keys::{Connection, Keeper, KeyValue, Keys, Lease};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::expect::{Contents, Difference};
use crate::sandbox::recorder::Recorder;
use crate::workspace::Target;

/// The time to live of a sandbox's lease.
const LEASE: Duration = Duration::from_secs(10);
/// How long the end of a sandbox waits until that lease is revoked.
const REVOKE: Duration = Duration::from_secs(1);

/// Keys of one test's own, below the run's prefix: no other test sees them. Cheap to clone. A sandbox is a [`Keys`], with
/// keys relative to its prefix:
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
    prefix: String,
    target: Arc<Target>,
    lease: OnceCell<Keeper>,
    recorder: Arc<Recorder>,
}

impl Sandbox {
    /// Opens a sandbox that is named after a test. Two sandboxes of the same name have different keys.
    ///
    /// # Errors
    /// [`Error::NoEtcd`] within seconds, and errors of the environment. If a process's first sandbox cannot be opened, all
    /// others of the process get the same error.
    pub async fn open(name: &str) -> Result<Self, Error> {
        let home = process::home().await?;
        Self::below(&home.connection, &home.prefix, name, Arc::clone(&home.target), home.since)
    }

    /// Opens a sandbox for a test that is not an async function; [`Sandbox::block_on`] then runs futures.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_blocking(name: &str) -> Result<Self, Error> {
        let runtime = process::runtime()?;
        if Handle::try_current().is_err() {
            return runtime.block_on(Self::open(name));
        }
        // An async test may have fixtures that are plain functions. Another thread waits for them.
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
        let recorder = Arc::new(Recorder::new(connection.keys(&prefix)?, since));
        terminated::add(Arc::downgrade(&recorder));
        Ok(Self(Arc::new(Inner { prefix, target, lease: OnceCell::new(), recorder })))
    }

    /// The keys of the sandbox; a sandbox derefs to them, too.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        self.0.recorder.keys()
    }

    /// The prefix in etcd, with a slash at its end, for code under test.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The endpoints, as URLs.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        self.0.target.endpoints()
    }

    /// etcd-client's own client. It sees all keys: prepend [`Sandbox::prefix`] to your keys.
    #[must_use]
    pub fn raw(&self) -> etcd_client::Client {
        self.keys().connection().raw()
    }

    /// A lease that lives as long as the sandbox: granted at the first call, renewed in the background, revoked when the
    /// last clone of the sandbox is dropped.
    ///
    /// # Errors
    /// Those of granting a lease.
    pub async fn lease(&self) -> Result<&Lease, Error> {
        let granted = self.0.lease.get_or_try_init(|| async { self.keys().grant(LEASE).await?.keep().await });
        Ok(granted.await?.lease())
    }

    /// Waits until a key has a value, at most 10 s.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] shows the value instead.
    pub async fn wait_for(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<KeyValue, Error> {
        let value = value.as_ref();
        let wanted = format!("`{}`", etcd_keys::text::Escaped(value));
        let accept = |kv: Option<&KeyValue>| kv.filter(|kv| kv.value == value).cloned();
        self.noted(wait::until(self, key.as_ref(), wait::DEFAULT_TIMEOUT, &wanted, accept).await).await
    }

    /// Waits until a key is absent, at most 10 s.
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] shows the value.
    pub async fn wait_absent(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.noted(wait::absent(self, key.as_ref(), wait::DEFAULT_TIMEOUT).await).await
    }

    /// Waits until a key satisfies a condition; `None` is its absence. `wanted` completes the message "the key was not …
    /// within 3 s".
    ///
    /// # Errors
    /// [`Error::WaitTimeout`] shows the value.
    pub async fn wait_until(
        &self,
        key: impl AsRef<[u8]>,
        timeout: Duration,
        wanted: &str,
        satisfies: impl Fn(Option<&KeyValue>) -> bool,
    ) -> Result<Option<KeyValue>, Error> {
        let accept = |kv: Option<&KeyValue>| satisfies(kv).then(|| kv.cloned());
        self.noted(wait::until(self, key.as_ref(), timeout, wanted, accept).await).await
    }

    /// Checks that the sandbox has exactly these keys and values.
    ///
    /// # Errors
    /// [`Error::Keys`] lists the missing, unexpected and different keys.
    pub async fn expect_keys<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        expected: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let pair = |(key, value): (K, V)| (key.as_ref().to_vec(), value.as_ref().to_vec());
        let expected: Contents = expected.into_iter().map(pair).collect();
        let all = self.keys().prefix("").await?;
        let found: Contents = all.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
        match Difference::between(self.prefix(), &expected, &found, Recorder::redaction) {
            Some(difference) => {
                self.0.recorder.note(all.revision, format!("other keys were expected {}", difference.lines()));
                Err(difference.into())
            }
            None => Ok(()),
        }
    }

    /// Puts a word of the test's own on its timeline, which is printed if the test fails. Takes one round trip: the place is
    /// after all that was written before.
    ///
    /// # Errors
    /// The errors of every request.
    pub async fn mark(&self, text: impl Into<String>) -> Result<(), Error> {
        let text = text.into();
        let now = self.0.recorder.revision().await?;
        self.0.recorder.note(now, text);
        Ok(())
    }

    /// Puts a failed expectation on the timeline, and hides the values that are not to be shown.
    async fn noted<T>(&self, expected: Result<T, Error>) -> Result<T, Error> {
        match expected {
            Err(Error::WaitTimeout(mut failed)) => {
                failed.redact(self.prefix(), &Recorder::redaction());
                if let Ok(now) = self.0.recorder.revision().await {
                    self.0.recorder.note(now, failed.to_string());
                }
                Err(failed.into())
            }
            expected => expected,
        }
    }

    /// A subscriber that puts the events of `tracing` on the timeline, as [`Sandbox::mark`] does with words, and passes them on
    /// to the subscriber of the process. `#[etcd_sandbox::test]` sets one for the test and its tokio tasks. Other tests, and
    /// threads, set it themselves:
    /// ```no_run
    /// # async fn example() -> Result<(), etcd_sandbox::Error> {
    /// # use etcd_sandbox::Sandbox;
    /// let sandbox = Sandbox::open("racks").await?;
    /// let _events = tracing::dispatcher::set_default(&sandbox.dispatch());
    /// tracing::info!(blades = 8, "registered");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn dispatch(&self) -> tracing_core::Dispatch {
        let dispatch = events::dispatch();
        events::record(&dispatch, &self.0.recorder);
        dispatch
    }

    /// What prints the timeline.
    pub(crate) fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.0.recorder)
    }

    /// What happened in the sandbox so far, in order, with previous values.
    ///
    /// # Errors
    /// [`Error::Compacted`] if etcd no longer has the history.
    pub async fn history(&self) -> Result<Vec<Event>, Error> {
        let mut history = self.0.recorder.history();
        let mut events = Vec::new();
        while let Some(event) = history.try_next().await? {
            events.push(event);
        }
        match history.first_revision() {
            first if first > self.0.recorder.since() => Err(Error::Compacted(first - 1)),
            _ => Ok(events),
        }
    }

    /// Runs a future to its end, for tests that are not async functions.
    ///
    /// # Panics
    /// In an async function: use `.await` there.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.keys().connection().runtime().block_on(future)
    }
}

#[cfg(feature = "private")]
impl Sandbox {
    /// Opens a sandbox on an etcd of its own, for a test that changes the whole server: users, alarms, compaction,
    /// members. It ends with the sandbox.
    ///
    /// # Errors
    /// [`Error::Private`] if no etcd can be found or started, or a cluster cannot have so many members.
    pub async fn open_private(name: &str, wanted: private::Private) -> Result<Self, Error> {
        let faults = Arc::new(private::Faults::default());
        let server = private::start(wanted, Arc::clone(&faults)).await?;
        let target = Arc::new(Target::Private(Box::new(server.client_config())));
        let connecting = Arc::clone(&target);
        let connected = process::runtime()?.spawn(async move { crate::connect::connect_to(&connecting).await }).await;
        let connection = connected.map_err(|error| Error::Private(error.to_string()))??;
        let run = private::prefix()?;
        let sandbox = Self::below(&connection, &run, name, target, 1)?;
        sandbox.0.recorder.keep_server(server);
        faults.record(&sandbox.0.recorder);
        Ok(sandbox)
    }

    /// The test's own etcd, whose members can be stopped, killed and started again; `None`: the sandbox is on the run's.
    /// Its methods block until they are done.
    #[must_use]
    pub fn server(&self) -> Option<&etcd_local::Ephemeral> {
        self.0.recorder.server()
    }
}

impl Deref for Sandbox {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        self.0.recorder.keys()
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sandbox(`{}` at {})", self.prefix(), self.0.target)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.recorder.print();
        }
        if let Some(keeper) = self.lease.take() {
            // If this fails, the lease expires.
            let (done, revoked) = mpsc::channel::<()>();
            self.recorder.keys().connection().runtime().spawn(async move {
                let _ = keeper.lease().revoke().await;
                drop(done);
            });
            // The process may end with this test, and would leave the lease.
            let _ = revoked.recv_timeout(REVOKE);
        }
    }
}
