//! What all sandboxes of this process share: one connection, one runtime for it, and the run: the one that the
//! environment names, or else one of the process's own, swept when the process ends.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use etcd_keys::kv::Get;
use etcd_keys::watch::Notice;
use etcd_keys::{Connect, Connection, KeyRange, Kind};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::clean;
use crate::error::Error;
use crate::exit;
use crate::host::Host;
use crate::lock::Shared;
use crate::record::{Found, Record, State};
use crate::registry::Registry;
use crate::run::{Plan, Run};
use crate::run_id::RunId;
use crate::workspace::{Workspace, variable};

/// How long a process that ends waits for its own run to be swept.
const FAREWELL: Duration = Duration::from_secs(5);

/// What sandboxes share.
pub(crate) struct Home {
    pub(crate) connection: Connection,
    pub(crate) endpoints: Vec<String>,
    /// The run's prefix.
    pub(crate) prefix: String,
    /// Nothing of the run happened before this revision.
    pub(crate) since: i64,
    _member: Member,
}

/// How this process belongs to its run.
enum Member {
    /// It is the process's own, until the process ends.
    Own,
    /// It holds the run's lock, where the run is of this machine.
    Joined { _lock: Option<Shared> },
}

/// The process's own run, for the moment when it ends.
static OWN: Mutex<Option<Run>> = Mutex::new(None);

/// The one connection and the one run of this process; opened by whoever comes first. An error is final, so that
/// a thousand tests without an etcd fail at once.
pub(crate) async fn home() -> Result<&'static Home, Error> {
    static HOME: OnceCell<Result<Home, Error>> = OnceCell::const_new();
    let opened = HOME.get_or_init(|| async {
        let opening = runtime()?.spawn(open());
        opening.await.map_err(|error| Error::system("open a run")(std::io::Error::other(error)))?
    });
    opened.await.as_ref().map_err(Clone::clone)
}

/// The runtime that the connection lives on. Tests come with runtimes of their own, which end with them.
pub(crate) fn runtime() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Result<Handle, Error>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| start_runtime().map_err(Error::system("start a runtime")));
    started.as_ref().map_err(Clone::clone)
}

fn start_runtime() -> std::io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let forever = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("etcd-sandbox".to_owned()).spawn(forever)?;
    Ok(handle)
}

async fn open() -> Result<Home, Error> {
    let workspace = Workspace::of_process();
    let endpoints = workspace.endpoints();
    let connection = connect(&endpoints).await?;
    match (variable("ETCD_TEST_RUN"), variable("ETCD_TEST_PREFIX")) {
        (Some(run), Some(prefix)) => join(connection, endpoints, &run, prefix).await,
        (None, None) => begin(connection, endpoints, &workspace).await,
        (Some(value), None) => Err(missing("ETCD_TEST_RUN", value, "ETCD_TEST_PREFIX is not set")),
        (None, Some(value)) => Err(missing("ETCD_TEST_PREFIX", value, "ETCD_TEST_RUN is not set")),
    }
}

fn missing(name: &'static str, value: String, why: &str) -> Error {
    Error::Variable { name, value, why: why.to_owned() }
}

/// Connects on the runtime that this is called on.
pub(crate) async fn connect(endpoints: &[String]) -> Result<Connection, Error> {
    Connect::new(endpoints).connect().await.map_err(|error| match error.kind {
        Kind::Unreachable | Kind::TimedOut => {
            Error::NoEtcd { endpoints: endpoints.join(","), source: std::sync::Arc::new(error) }
        }
        _ => error.into(),
    })
}

/// Joins the run that the environment names. Only to write where it says: who joins deletes nothing.
async fn join(connection: Connection, endpoints: Vec<String>, run: &str, prefix: String) -> Result<Home, Error> {
    let id: RunId = run.parse().map_err(|error: crate::run_id::NoRunId| Error::Variable {
        name: "ETCD_TEST_RUN",
        value: run.to_owned(),
        why: error.to_string(),
    })?;
    if !prefix.ends_with(&format!("/{id}/")) {
        let why = format!("it does not end in `/{id}/`, as ETCD_TEST_RUN says");
        return Err(Error::Variable { name: "ETCD_TEST_PREFIX", value: prefix, why });
    }
    let key = format!("{prefix}.run");
    let answer = connection.all_keys().send(Get::new(key.as_str())).await?;
    let Some(kv) = answer.kvs.first() else {
        return Err(Error::NoRun { run: id, endpoints: endpoints.join(",") });
    };
    let lock = match Found::read(&kv.value) {
        Found::Record(record) => hold(&record, &id)?,
        // Nobody who could read it would take it for one that has ended.
        Found::Newer(_) | Found::Damaged(_) => None,
    };
    let since = kv.create_revision;
    connection.runtime().spawn(end_with(connection.clone(), key, kv.mod_revision + 1, id));
    Ok(Home { connection, endpoints, prefix, since, _member: Member::Joined { _lock: lock } })
}

/// Holds the run's lock along with its runner, if it is here.
fn hold(record: &Record, id: &RunId) -> Result<Option<Shared>, Error> {
    if record.state != State::Running {
        return Err(Error::Swept(id.clone()));
    }
    if !record.is_of(&Host::this()) || !record.lock.is_file() {
        return Ok(None);
    }
    match Shared::join(&record.lock)
        .map_err(Error::system(format!("join the run's lock `{}`", record.lock.display())))?
    {
        Some(lock) => Ok(Some(lock)),
        None => Err(Error::Swept(id.clone())),
    }
}

/// Ends this process when its run has ended: a test whose runner was killed must not go on writing, and what it
/// tests is being deleted under its hands.
async fn end_with(connection: Connection, key: String, revision: i64, id: RunId) {
    let mut watch = connection.all_keys().watch(KeyRange::key(key)).from_revision(revision);
    loop {
        match watch.next().await {
            Ok(Notice::Event(event)) if !runs_on(&event.value) => {
                eprintln!("the run {id} has ended, and this process of it ends, too");
                std::process::exit(1);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

fn runs_on(value: &[u8]) -> bool {
    Found::read(value).record().is_some_and(|record| record.state == State::Running)
}

/// Begins a run of the process's own.
async fn begin(connection: Connection, endpoints: Vec<String>, workspace: &Workspace) -> Result<Home, Error> {
    let registry = Registry::new(&connection, workspace.roots()?);
    let lock_dir = workspace.lock_dir();
    let run = Run::start(&registry, Plan::new(&lock_dir, command())).await?;
    let (prefix, since) = (run.prefix(), run.revision());
    *OWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    exit::at_exit(say_farewell);
    connection.runtime().spawn(async move { clean::left_here(&registry, &lock_dir).await });
    Ok(Home { connection, endpoints, prefix, since, _member: Member::Own })
}

/// The command line, for whoever asks what a run is.
fn command() -> String {
    let mut args = std::env::args_os();
    let program = args.next().map(PathBuf::from);
    let name = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
    args.fold(name, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}

/// Sweeps the process's own run. If that takes too long, or the process is killed, the next one here does it.
fn say_farewell() {
    let run = OWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (Some(run), Ok(runtime)) = (run, runtime()) {
        let (done, swept) = mpsc::channel();
        runtime.spawn(async move {
            drop(run.sweep().await);
            drop(done);
        });
        let _: Result<(), _> = swept.recv_timeout(FAREWELL);
    }
}
