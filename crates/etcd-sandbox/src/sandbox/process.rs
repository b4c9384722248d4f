//! What all sandboxes of this process share: one connection, one runtime for it, and one run. The environment names the
//! run; otherwise the process starts its own, and sweeps it when the process ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{Connection, KeyRange};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::connect::connect_to_target;
use crate::error::Error;
use crate::host::Host;
use crate::run_id::RunId;
use crate::runs::clean;
use crate::runs::lock::{Joined, Shared};
use crate::runs::plan::Plan;
use crate::runs::record::{Found, State};
use crate::runs::registry::Registry;
use crate::runs::run::Run;
use crate::sandbox::{shutdown, terminated};
use crate::workspace::{Target, Workspace, variable};

/// What sandboxes share.
pub(crate) struct Home {
    pub(crate) connection: Connection,
    pub(crate) target: Arc<Target>,
    /// The run's prefix.
    pub(crate) prefix: String,
    /// The run has no history before this revision.
    pub(crate) since: i64,
    /// Shared with the runner, if the run is another process's and of this machine.
    _lock: Option<Shared>,
}

type Opened = Result<&'static Home, Error>;

/// The connection and the run of this process, opened at the first call, whether the caller waits or not. An error is
/// final, so that a thousand tests without an etcd fail at once.
pub(crate) async fn home() -> Opened {
    static OPENING: OnceLock<Result<watch::Receiver<Option<Opened>>, Error>> = OnceLock::new();
    let mut opened = OPENING.get_or_init(begin_to_open).clone()?;
    // The sender is dropped if opening panicked.
    let home = opened.wait_for(Option::is_some).await.ok().and_then(|home| home.clone());
    home.unwrap_or_else(|| Err(Error::system("open a run")(std::io::Error::other("it panicked"))))
}

fn begin_to_open() -> Result<watch::Receiver<Option<Opened>>, Error> {
    let (sender, opened) = watch::channel(None);
    runtime()?.spawn(async move {
        // For as long as the process lives.
        let home = open().await.map(|home| &*Box::leak(Box::new(home)));
        sender.send_replace(Some(home));
    });
    Ok(opened)
}

/// The runtime of the connection. Tests have runtimes of their own, which end with them.
pub(crate) fn runtime() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Result<Handle, Error>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        let runtime = shutdown::start_runtime().map_err(Error::system("start a runtime"))?;
        terminated::listen(&runtime);
        Ok(runtime)
    });
    started.as_ref().map_err(Clone::clone)
}

async fn open() -> Result<Home, Error> {
    let workspace = Workspace::of_process();
    let (connection, target) = connect_to_target(&workspace).await?;
    match (variable("ETCD_TEST_RUN"), variable("ETCD_TEST_PREFIX")) {
        (Some(run), Some(prefix)) => join(connection, target, &run, prefix).await,
        (None, None) => begin(connection, target, &workspace).await,
        (Some(value), None) => Err(missing("ETCD_TEST_RUN", value, "ETCD_TEST_PREFIX is not set")),
        (None, Some(value)) => Err(missing("ETCD_TEST_PREFIX", value, "ETCD_TEST_RUN is not set")),
    }
}

fn missing(name: &'static str, value: String, why: &str) -> Error {
    Error::Variable { name, value, why: why.to_owned() }
}

/// Joins the run that the environment names. A process that joins deletes nothing.
async fn join(connection: Connection, target: Arc<Target>, run: &str, prefix: String) -> Result<Home, Error> {
    let id: RunId = run.parse().map_err(|error: crate::run_id::RunIdError| Error::Variable {
        name: "ETCD_TEST_RUN",
        value: run.to_owned(),
        why: error.to_string(),
    })?;
    if !prefix.ends_with(&format!("/{id}/")) {
        let why = format!("it does not end in `/{id}/`, as ETCD_TEST_RUN says");
        return Err(Error::Variable { name: "ETCD_TEST_PREFIX", value: prefix, why });
    }
    let key = format!("{prefix}.run");
    let mut lock = None;
    let mut since = 0;
    // The record is read again once the lock is held: from then on no process on this machine finds the run dead.
    for _ in ["before", "after"] {
        let Some(kv) = connection.all_keys().get(key.as_str()).await? else {
            return Err(Error::NoRun { run: id, endpoints: target.endpoints().join(",") });
        };
        since = kv.create_revision;
        let found = Found::read(&kv.value);
        if has_ended(&found) {
            return Err(Error::Swept(id));
        }
        if let Some(record) = found.record().filter(|record| lock.is_none() && record.is_of(Host::this())) {
            lock = match Shared::join(&record.lock, &id) {
                Joined::Held(lock) => Some(lock),
                Joined::Swept => return Err(Error::Swept(id)),
                Joined::NoLock => None,
            };
        }
    }
    connection.runtime().spawn(end_with(connection.clone(), key, id));
    Ok(Home { connection, target, prefix, since, _lock: lock })
}

/// Ends this process when its run has ended: a test whose runner was killed must not go on writing, and its keys are being
/// deleted.
async fn end_with(connection: Connection, key: String, id: RunId) {
    let mut watch = connection.all_keys().watch(KeyRange::key(key)).snapshot().track();
    let mut is_there = false;
    loop {
        match watch.recv().await {
            Ok(Notice::Key(kv)) => is_there = !has_ended(&Found::read(&kv.value)),
            Ok(Notice::Event(event)) if event.kind == EventKind::Delete || has_ended(&Found::read(&event.kv.value)) => {
                return end(&id);
            }
            Ok(Notice::Listed { .. }) if !is_there => return end(&id),
            // Another etcd, or an etcd that lost its data: its keys follow.
            Ok(Notice::Reset { .. }) => is_there = false,
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Exits on a thread of its own: at the exit the run is swept, which may wait for the runtime that calls this.
fn end(id: &RunId) {
    // Not `eprintln!`, which panics if stderr is closed.
    let _ = writeln!(
        std::io::stderr(),
        "error: the test run {id} has ended: its runner ended, or somebody removed the run\n  this process is of that run \
         and ends, too, so that it leaves nothing behind"
    );
    std::thread::spawn(|| std::process::exit(1));
}

/// Whether the record says so. Newer and damaged records do not.
fn has_ended(found: &Found) -> bool {
    found.record().is_some_and(|record| record.state != State::Running)
}

/// Starts a run of the process's own.
async fn begin(connection: Connection, target: Arc<Target>, workspace: &Workspace) -> Result<Home, Error> {
    let registry = Registry::new(&connection, workspace.roots()?);
    let lock_dir = workspace.lock_dir();
    let run = Run::start(&registry, Plan::new(&lock_dir, command())).await?;
    let (prefix, since, id, lost) = (run.prefix(), run.revision(), run.id().clone(), run.lost());
    shutdown::sweep_at_exit(run, Arc::clone(&target));
    connection.runtime().spawn(async move {
        lost.await;
        end(&id)
    });
    connection.runtime().spawn(async move { clean::left_here(&registry, &lock_dir).await });
    Ok(Home { connection, target, prefix, since, _lock: None })
}

/// The command line, for the run's record.
fn command() -> String {
    let mut args = std::env::args_os();
    let program = args.next().map(PathBuf::from);
    let name = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
    args.fold(name, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}
