//! A run of this process: registered, kept alive, and at its end swept or kept. A run that is dropped without either is
//! dead, as if this process had been killed: others sweep it.

use std::path::Path;
use std::time::Duration;

use etcd_client::CompareOp;
use etcd_keys::kv::{Compare, Put, Txn};
use etcd_keys::{ErrorKind, KeyRange};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::run_id::RunId;
use crate::runs::fence::Credentials;
use crate::runs::heartbeat::Heartbeat;
use crate::runs::lock::{Alone, Joined, Shared, Tried};
use crate::runs::plan::Plan;
use crate::runs::record::{Found, Record, State};
use crate::runs::registry::{Entry, FENCED, Registry};
use crate::runs::sweep::{Claim, Swept, Unless};

/// How long the last processes of a run that has ended may take to notice.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// How often their lock is tried.
const PACE: Duration = Duration::from_millis(20);

/// How often a run is registered whose lease ends meanwhile.
const REGISTRATIONS: u32 = 5;

/// How often an owner claims its run from other cleaners.
const CLAIMS: u32 = 3;

/// Why a directory of locks is refused: the record, which is text, names it.
const NOT_UTF8: &str = "its path is not UTF-8";

/// A run that this process has registered and keeps alive.
#[derive(Debug)]
pub struct Run {
    registry: Registry,
    id: RunId,
    record: Record,
    /// The revision that wrote the record.
    revision: i64,
    /// Whether it has a user and a role of its own.
    fenced: bool,
    /// The password is known only to the process that created the user.
    credentials: Option<Credentials>,
    lock: Shared,
    lost: watch::Receiver<bool>,
    keeper: Keeping,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunSummary {
    /// The number of deleted keys.
    pub keys: u64,
    /// Whether processes of the run still live. The next sweep deletes what they write.
    pub stragglers: bool,
    /// Whether another process had taken the run.
    pub lost: bool,
}

impl Run {
    /// Registers a run, and keeps it alive on the connection's runtime.
    ///
    /// # Errors
    /// If the lock cannot be made, or etcd does not take the record.
    pub async fn start(registry: &Registry, plan: Plan) -> Result<Self, Error> {
        let id = RunId::fresh().map_err(Error::system("make a run id"))?;
        let (endpoints, test_root) = (registry.connection().endpoint(), registry.roots().test_root());
        // Other processes have other current directories.
        let lock = std::path::absolute(&plan.lock_dir)
            .and_then(|dir| if dir.to_str().is_some() { Ok(dir) } else { Err(std::io::Error::other(NOT_UTF8)) })
            .and_then(|dir| Shared::create(&dir, &id, endpoints, test_root))
            .map_err(Error::system(format!("make the run's lock in `{}`", plan.lock_dir.display())))?;
        let fenced = plan.fenced;
        let record = plan.into_record(lock.path().to_owned());
        match Self::register(registry, id, record, lock, fenced, None).await {
            Ok(Some(run)) if fenced => run.with_fence().await,
            Ok(Some(run)) => Ok(run),
            // A new id has 128 random bits: if it is taken, somebody forged a record.
            Ok(None) => Err(Error::system("register a run")(std::io::ErrorKind::AlreadyExists.into())),
            Err(error) => Err(error),
        }
    }

    /// Takes over a run whose keeper died, for a runner that is alive and holds the run's lock; `None`: the run is swept, or
    /// about to be.
    ///
    /// # Errors
    /// As [`Run::start`].
    pub async fn adopt(registry: &Registry, id: RunId) -> Result<Option<Self>, Error> {
        let Some(Entry { found: Found::Record(record), revision, fenced, .. }) = registry.entry(&id).await? else {
            return Ok(None);
        };
        match Shared::join(&record.lock, &id) {
            Joined::Held(lock) if record.state == State::Running => {
                Self::register(registry, id, *record, lock, fenced, Some(revision)).await
            }
            _ => Ok(None),
        }
    }

    async fn register(
        registry: &Registry,
        id: RunId,
        record: Record,
        lock: Shared,
        fenced: bool,
        before: Option<i64>,
    ) -> Result<Option<Self>, Error> {
        let keys = registry.connection().all_keys();
        let ttl = Duration::from_secs(record.ttl);
        let key = registry.record_key(&id);
        let value = record.to_bytes().map_err(|error| Error::system("record the run")(error.into()))?;
        let txn = |lease| {
            Txn::new()
                .when(Compare::mod_revision(KeyRange::key(key.as_str()), CompareOp::Equal, before.unwrap_or(0)))
                .then(Put::new(key.as_str(), value.as_slice()))
                .then(Put::new(registry.alive_key(&id), "").lease(lease))
                .then(Put::new(registry.index_key(&id), if fenced { FENCED } else { "" }))
        };
        let mut attempts = 0..REGISTRATIONS;
        let (lease, answer) = loop {
            attempts.next();
            let lease = keys.grant(ttl).await?;
            match keys.send(txn(lease.id())).await {
                // Etcd was busy for longer than the lease lives, and has done nothing.
                Err(error) if error.kind == ErrorKind::NoLease && !attempts.is_empty() => {}
                answer => break (lease, answer?),
            }
        };
        if !answer.succeeded {
            return Ok(None);
        }
        let revision = answer.revision;
        let first = lease.keep().await?;
        let (sender, lost) = watch::channel(false);
        let (record_key, alive) = (registry.record_key(&id), registry.alive_key(&id));
        let heartbeat = Heartbeat { keys, record: record_key, alive, revision, ttl };
        let keeper = registry.connection().runtime().spawn(heartbeat.keep(first, sender));
        let keeper = Keeping(keeper.abort_handle());
        let registry = registry.clone();
        Ok(Some(Self { registry, id, record, revision, fenced, credentials: None, lock, lost, keeper }))
    }

    /// Creates the run's user and role. The run is registered before: if this process is killed, others find them.
    async fn with_fence(mut self) -> Result<Self, Error> {
        let credentials = Credentials::fresh(&self.id).map_err(Error::system("make a password"))?;
        if let Err(error) = self.registry.create_fence(&self.id, &credentials).await {
            // If this fails, too, the next sweep does it.
            drop(self.sweep().await);
            return Err(error.into());
        }
        // Another process may have taken a run for dead whose process was stopped, before it had its user.
        if self.registry.entry(&self.id).await?.is_none_or(|run| run.revision != self.revision) {
            self.registry.delete_fence(&self.id).await?;
            return Err(Error::Swept(self.id.clone()));
        }
        self.credentials = Some(credentials);
        Ok(self)
    }

    /// Where the run is registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The prefix of its keys; ends in `/`.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.registry.roots().run(&self.id)
    }

    /// The file that every process of the run holds open.
    #[must_use]
    pub fn lock(&self) -> &Path {
        self.lock.path()
    }

    /// The revision at which the run was registered.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The variables by which a child finds the run, beside those that lead to the cluster: `ETCD_TEST_PREFIX` and
    /// `ETCD_TEST_RUN`.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [("ETCD_TEST_PREFIX", self.prefix()), ("ETCD_TEST_RUN", self.id.to_string())]
    }

    /// The user of a run that is fenced. `None` for a run that is not, and for an adopted run.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns when another process has taken the run. If the run ends otherwise, this never returns.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same run, on another connection to its cluster.
    pub(crate) fn by(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Ends the run and deletes all its keys. Processes of the run that still live have 2 s to end. If they do not, the
    /// record stays, and the next sweep deletes what they write.
    ///
    /// # Errors
    /// Those of etcd. The run is then dead, and the next sweep deletes it.
    pub async fn sweep(self) -> Result<RunSummary, Error> {
        let Some(claim) = self.claim(State::Sweeping).await? else {
            return Ok(RunSummary { keys: 0, stragglers: false, lost: true });
        };
        // First: its last processes then write no more.
        let unfenced = claim.delete_fence().await;
        let (mut keys, path) = (0, self.lock.path().to_owned());
        drop(self.lock);
        let lock = match alone_within(STRAGGLERS, &path, &self.id).await {
            Tried::Free(lock) => Some(lock),
            Tried::Held => None,
            // Another cleaner had the lock, found the run dead, and has swept it; or this file system has no such locks.
            Tried::Unknown => return Self::sweep_again(&self.registry, &self.id).await,
        };
        let done = match claim.delete_keys(&mut keys).await.and(unfenced) {
            Ok(()) if lock.is_some() => claim.finish(&mut keys).await,
            done => done,
        };
        match done {
            Ok(()) => {
                let stragglers = lock.is_none();
                lock.into_iter().for_each(Alone::remove);
                Ok(RunSummary { keys, stragglers, lost: false })
            }
            // After we let go of the lock and before we had it alone, another cleaner had it, and found the run dead.
            Err(error) if error.kind == ErrorKind::NotMet => {
                drop(lock);
                let ended = Self::sweep_again(&self.registry, &self.id).await?;
                Ok(RunSummary { keys: keys + ended.keys, ..ended })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sweeps a run of this process that [`Run::sweep`] did not sweep, or not alone.
    ///
    /// # Errors
    /// As [`Run::sweep`].
    pub async fn sweep_again(registry: &Registry, id: &RunId) -> Result<RunSummary, Error> {
        let mut keys = 0;
        // Other cleaners give way to the last claim. A cleaner that keeps claiming the run sweeps it as well as we do.
        for _ in 0..CLAIMS {
            let Some(run) = registry.entry(id).await? else { break };
            match registry.sweep_by_force(&run).await? {
                Swept::Gone(gone) => {
                    keys += gone;
                    break;
                }
                Swept::NotOurs(gone) => keys += gone,
            }
        }
        Ok(RunSummary { keys, stragglers: false, lost: false })
    }

    /// Ends the run and leaves its keys, until somebody cleans by hand. Its user and role go.
    ///
    /// # Errors
    /// Those of etcd. The run is then dead, and the next sweep deletes it.
    pub async fn keep(self) -> Result<RunSummary, Error> {
        let kept = self.claim(State::Kept).await?;
        if self.fenced && kept.is_some() {
            self.registry.delete_fence_of_kept(&self.id).await?;
        }
        Ok(RunSummary { keys: 0, stragglers: false, lost: kept.is_none() })
    }

    /// Ends the run in the registry.
    async fn claim(&self, state: State) -> Result<Option<Claim>, Error> {
        self.keeper.0.abort();
        let entry = Entry {
            id: self.id.clone(),
            found: Found::Record(Box::new(self.record.clone())),
            revision: self.revision,
            alive: true,
            fenced: self.fenced,
            keys: 0,
        };
        Ok(self.registry.claim(&entry, state, Unless::Never).await?)
    }
}

/// The task of a [`Heartbeat`], which ends with the run.
#[derive(Debug)]
struct Keeping(AbortHandle);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tries to get the lock of a run whose processes are ending, until the timeout.
async fn alone_within(timeout: Duration, path: &Path, id: &RunId) -> Tried {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        match Alone::attempt(path, id) {
            Tried::Held if tokio::time::Instant::now() < deadline => tokio::time::sleep(PACE).await,
            tried => return tried,
        }
    }
}
