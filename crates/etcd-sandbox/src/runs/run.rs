//! A run of ours: registered, kept alive, and at its end swept or kept. Dropped without either it is dead, as if
//! this process had been killed: others sweep it.

use std::path::Path;
use std::time::Duration;

use etcd_client::CompareOp;
use etcd_keys::KeyRange;
use etcd_keys::kv::{Compare, Put, Txn};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::run_id::RunId;
use crate::runs::heartbeat::Heartbeat;
use crate::runs::lock::{Alone, Joined, Shared, Tried};
use crate::runs::plan::Plan;
use crate::runs::record::{Found, Record, State};
use crate::runs::registry::{Entry, Registry};
use crate::runs::sweep::{Claim, Swept, Unless};

/// How long the last processes of a run that has ended may take to notice.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// How often they are looked for.
const PACE: Duration = Duration::from_millis(20);

/// How often an owner claims its run from other cleaners.
const CLAIMS: u32 = 3;

/// Why a place for locks is refused: the record names it, and others look for it.
const NO_TEXT: &str = "its path is not UTF-8";

/// A run that this process has registered and keeps alive.
#[derive(Debug)]
pub struct Run {
    registry: Registry,
    id: RunId,
    record: Record,
    /// The revision that wrote the record.
    revision: i64,
    lock: Shared,
    lost: watch::Receiver<bool>,
    keeper: Keeping,
}

/// What became of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunSummary {
    /// Keys that were deleted.
    pub keys: u64,
    /// Whether processes of the run go on: what they write is deleted by the next one who cleans.
    pub stragglers: bool,
    /// Whether somebody else had taken the run away.
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
        // Others look for it from elsewhere.
        let lock = std::path::absolute(&plan.lock_dir)
            .and_then(|dir| if dir.to_str().is_some() { Ok(dir) } else { Err(std::io::Error::other(NO_TEXT)) })
            .and_then(|dir| Shared::create(&dir, &id, endpoints, test_root))
            .map_err(Error::system(format!("make the run's lock in `{}`", plan.lock_dir.display())))?;
        let record = plan.into_record(lock.path().to_owned());
        match Self::register(registry, id, record, lock, None).await {
            Ok(Some(run)) => Ok(run),
            // A fresh id that is taken would be a miracle, or a forger's work.
            Ok(None) => Err(Error::system("register a run")(std::io::ErrorKind::AlreadyExists.into())),
            Err(error) => Err(error),
        }
    }

    /// Goes on with a run whose keeper died, for the sake of a runner that lives and holds its lock; `None`: it is
    /// swept, or about to be.
    ///
    /// # Errors
    /// As [`Run::start`].
    pub async fn adopt(registry: &Registry, id: RunId) -> Result<Option<Self>, Error> {
        let Some(Entry { found: Found::Record(record), revision, .. }) = registry.entry(&id).await? else {
            return Ok(None);
        };
        match Shared::join(&record.lock, &id) {
            Joined::Held(lock) if record.state == State::Running => {
                Self::register(registry, id, *record, lock, Some(revision)).await
            }
            _ => Ok(None),
        }
    }

    async fn register(
        registry: &Registry,
        id: RunId,
        record: Record,
        lock: Shared,
        before: Option<i64>,
    ) -> Result<Option<Self>, Error> {
        let keys = registry.connection().all_keys();
        let ttl = Duration::from_secs(record.ttl);
        let lease = keys.grant(ttl).await?;
        let key = registry.record_key(&id);
        let value = record.to_bytes().map_err(|error| Error::system("record the run")(error.into()))?;
        let txn = Txn::new()
            .when(Compare::mod_revision(KeyRange::key(key.as_str()), CompareOp::Equal, before.unwrap_or(0)))
            .then(Put::new(key, value))
            .then(Put::new(registry.alive_key(&id), "").lease(lease.id()))
            .then(Put::new(registry.index_key(&id), ""));
        let answer = keys.send(txn).await?;
        if !answer.succeeded {
            return Ok(None);
        }
        let revision = answer.revision;
        let first = lease.keep().await?;
        let (tell, lost) = watch::channel(false);
        let (record_key, alive) = (registry.record_key(&id), registry.alive_key(&id));
        let sign = Heartbeat { keys, record: record_key, alive, revision, ttl };
        let keeper = registry.connection().runtime().spawn(sign.keep(first, tell));
        let keeper = Keeping(keeper.abort_handle());
        let registry = registry.clone();
        Ok(Some(Self { registry, id, record, revision, lock, lost, keeper }))
    }

    /// Where it is registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its id.
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

    /// The revision at which it was registered.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// What a child finds the run by: `ETCD_ENDPOINTS`, `ETCD_TEST_RUN`, `ETCD_TEST_PREFIX`, and etcdctl's own.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoints = self.registry.connection().endpoint().to_owned();
        vec![
            ("ETCD_ENDPOINTS", endpoints.clone()),
            ("ETCDCTL_API", "3".to_owned()),
            ("ETCDCTL_ENDPOINTS", endpoints),
            ("ETCD_TEST_PREFIX", self.prefix()),
            ("ETCD_TEST_RUN", self.id.to_string()),
        ]
    }

    /// Returns when somebody else has taken the run away; never, if the run ends otherwise.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same run, by another connection to its cluster.
    pub(crate) fn by(self, registry: Registry) -> Self {
        Self { registry, ..self }
    }

    /// Ends the run and deletes all its keys. Processes of the run that still live are given a moment to end; if they
    /// do not, the record stays, so that whoever cleans next deletes what they go on to write.
    ///
    /// # Errors
    /// Whatever etcd says. The run is then dead, and the next one who cleans sweeps it.
    pub async fn sweep(self) -> Result<RunSummary, Error> {
        let Some(claim) = self.claim(State::Sweeping).await? else {
            return Ok(RunSummary { keys: 0, stragglers: false, lost: true });
        };
        let (mut keys, path) = (0, self.lock.path().to_owned());
        drop(self.lock);
        let lock = match alone_within(STRAGGLERS, &path, &self.id).await {
            Tried::Free(lock) => Some(lock),
            Tried::Held => None,
            // Another cleaner had it, found us dead, and is through already; or this file system has no such locks.
            Tried::Unknown => return Self::sweep_again(&self.registry, &self.id).await,
        };
        let done = match claim.delete_keys(&mut keys).await {
            Ok(()) if lock.is_some() => claim.finish(&mut keys).await,
            done => done,
        };
        match done {
            Ok(()) => {
                let stragglers = lock.is_none();
                lock.into_iter().for_each(Alone::remove);
                Ok(RunSummary { keys, stragglers, lost: false })
            }
            // Between our letting go of the lock and our having it alone, another cleaner had it, and found us dead.
            Err(error) if error.kind == etcd_keys::ErrorKind::NotMet => {
                drop(lock);
                let ended = Self::sweep_again(&self.registry, &self.id).await?;
                Ok(RunSummary { keys: keys + ended.keys, ..ended })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sweeps a run of ours that [`Run::sweep`] could not, or not alone.
    ///
    /// # Errors
    /// As [`Run::sweep`].
    pub async fn sweep_again(registry: &Registry, id: &RunId) -> Result<RunSummary, Error> {
        let mut keys = 0;
        // Others give way to who claims the run after them. Who keeps claiming it sweeps it as well as we.
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

    /// Ends the run and leaves its keys, until somebody cleans by hand.
    ///
    /// # Errors
    /// Whatever etcd says. The run is then dead, and the next one who cleans sweeps it.
    pub async fn keep(self) -> Result<RunSummary, Error> {
        let kept = self.claim(State::Kept).await?;
        Ok(RunSummary { keys: 0, stragglers: false, lost: kept.is_none() })
    }

    /// Ends it in the registry.
    async fn claim(&self, state: State) -> Result<Option<Claim>, Error> {
        self.keeper.0.abort();
        let entry = Entry {
            id: self.id.clone(),
            found: Found::Record(Box::new(self.record.clone())),
            revision: self.revision,
            alive: true,
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

/// The lock of a run whose processes are ending: held, if one of them does not.
async fn alone_within(timeout: Duration, path: &Path, id: &RunId) -> Tried {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        match Alone::attempt(path, id) {
            Tried::Held if tokio::time::Instant::now() < deadline => tokio::time::sleep(PACE).await,
            tried => return tried,
        }
    }
}
