//! `keep`: the keeper of a run. Registers the run, keeps it alive while its runner works, and ends it.
//!
//! The protocol: the keeper prints [`KeeperMessage`]s on stdout, one JSON object a line. The runner writes one word a line to
//! stdin: `interrupted` ends the run's other processes; `timeline SANDBOX`, or `timeline`, asks what happened to the keys of a
//! sandbox, or of the whole run; the last word is `sweep` or `keep`. If stdin ends without it, the
//! runner has died, and the keeper ends the run's processes and sweeps.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_keys::text::Escaped;
use etcd_keys::{Connection, LeaseId};
use etcd_sandbox::runs::{self, EscapeSearch, Plan, Registry, Run, RunSummary};
use etcd_workspace::{ClientConfig, Password};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::Keep;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::fence;
use crate::orphans;

/// A message from the keeper to its runner.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KeeperMessage {
    /// The run is registered.
    Registered { run: String, prefix: String, lock: PathBuf, variables: Vec<(&'static str, String)> },
    /// Another process has swept the run: its keys may be gone.
    Lost,
    /// What happened to the keys, as text.
    Timeline { text: String },
    /// The run has ended.
    Ended {
        keys: u64,
        stragglers: bool,
        lost: bool,
        /// If the runner asked for them, and they are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        escapes: Option<Escapes>,
        /// The same.
        #[serde(skip_serializing_if = "Option::is_none")]
        leaks: Option<Leaks>,
        /// The same.
        #[serde(skip_serializing_if = "Option::is_none")]
        sandboxes: Option<Vec<SandboxSummary>>,
    },
}

/// What changed outside of all runs: see `etcd_sandbox::runs::Escapes`.
#[derive(Serialize)]
struct Escapes {
    changes: u64,
    keys: Vec<String>,
    revisions: (i64, i64),
}

/// What is left beside keys: see `etcd_sandbox::runs::Leaks`.
#[derive(Serialize)]
struct Leaks {
    leases: u64,
    locks: u64,
    without_keys: u64,
    named: Vec<LeftLease>,
    /// Processes that go on.
    processes: Vec<String>,
}

#[derive(Serialize)]
struct LeftLease {
    id: String,
    ttl: u64,
    keys: u64,
    key: String,
    is_lock: bool,
}

/// What one sandbox has written: see `etcd_sandbox::runs::SandboxSummary`.
#[derive(Serialize)]
struct SandboxSummary {
    name: String,
    changes: u64,
    keys: u64,
    revisions: (i64, i64),
}

pub(crate) async fn run(args: Keep, cx: &Context) -> Result<ExitCode> {
    ignore_signals()?;
    let (connection, client) = cx.connect_as().await?;
    let registry = cx.registry_of(&connection)?;
    // After a keeper that died, that is not known: all leases are looked up.
    let leases_before = match (args.leaks, &args.adopt) {
        (true, None) => connection.leases().await.unwrap_or_default(),
        _ => BTreeSet::new(),
    };
    let run = match &args.adopt {
        Some(id) => Run::adopt(&registry, id.clone()).await?.context("the run is being swept")?,
        None => {
            let fenced = fence::is_wanted(args.fence, &connection, &client, cx).await?;
            let plan = Plan::new(&args.lock_dir, &args.command).runner(args.runner).fenced(fenced);
            Run::start(&registry, plan.ttl(Duration::from_secs(args.ttl))).await?
        }
    };
    let printed = say(&KeeperMessage::Registered {
        run: run.id().to_string(),
        prefix: run.prefix(),
        lock: run.lock().to_owned(),
        variables: of_run(client, &run).variables().into_iter().chain(run.variables()).collect(),
    });
    // Sweeps dead runs in the background.
    let lock_dir = args.lock_dir;
    let cleaning = (!args.no_cleaning).then(|| tokio::spawn(async move { registry.sweep_dead(&lock_dir).await }));
    let (stop, stopped) = oneshot::channel();
    let searching = args.escapes.then(|| tokio::spawn(search_escapes(run.search_escapes(), stopped)));
    let end = match printed {
        Ok(()) => wait_for_end(&run, args.reports.as_deref(), cx).await,
        // It died meanwhile.
        Err(_) => RunEnd::Orphaned,
    };
    let has_reader = !matches!(end, RunEnd::Orphaned);
    // The last look for escapes begins.
    drop(stop);
    let (escapes, leaks, sandboxes) = if has_reader {
        let leases_before = args.leaks.then_some(&leases_before);
        look_back(&run, searching, leases_before, args.reports.is_some()).await
    } else {
        (None, None, None)
    };
    let ended = match end {
        RunEnd::Sweep => run.sweep().await?,
        RunEnd::Keep => run.keep().await?,
        RunEnd::Orphaned => {
            orphans::end(run.id().as_str()).await;
            sweep_for(run, Duration::from_secs(args.sweep_timeout)).await?
        }
    };
    finish(cleaning).await;
    // A dead runner cannot read this.
    let RunSummary { keys, stragglers, lost, .. } = ended;
    let printed = say(&KeeperMessage::Ended { keys, stragglers, lost, escapes, leaks, sandboxes });
    if has_reader {
        printed?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the run leaves and what its sandboxes have written, as far as it is asked for. Looked for at the same time, because
/// the runner waits.
async fn look_back(
    run: &Run,
    searching: Option<JoinHandle<Option<Escapes>>>,
    leases_before: Option<&BTreeSet<LeaseId>>,
    has_report: bool,
) -> (Option<Escapes>, Option<Leaks>, Option<Vec<SandboxSummary>>) {
    tokio::join!(
        async { found_within(ESCAPES_TIMEOUT, searching?).await },
        async { leaks(run, leases_before?).await },
        async { if has_report { sandboxes(run).await } else { None } },
    )
}

/// How the run's processes connect: as the run's own user, if it has one.
fn of_run(client: ClientConfig, run: &Run) -> ClientConfig {
    let Some(own) = run.credentials() else { return client };
    ClientConfig { user: Some(own.user.clone()), password: Some(Password::new(own.password.as_str())), ..client }
}

/// Ctrl-C, a closed terminal or a cancelled CI job can signal the whole process group. The keeper ignores that, because it
/// must sweep after its runner has ended.
fn ignore_signals() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            // The signal stays caught after the listener is dropped.
            drop(signal(kind).context("cannot catch signals")?);
        }
    }
    #[cfg(windows)]
    {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
        let failed = "cannot catch signals";
        let mut interrupt = ctrl_c().context(failed)?;
        let (mut stop, mut close) = (ctrl_break().context(failed)?, ctrl_close().context(failed)?);
        // These are caught only while there is a listener.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = stop.recv() => {}
                    _ = close.recv() => {}
                }
            }
        });
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum RunEnd {
    Sweep,
    Keep,
    /// The runner died.
    Orphaned,
}

/// Waits for the runner's last word. Reports to the runner if the run is lost.
async fn wait_for_end(run: &Run, reports: Option<&Path>, cx: &Context) -> RunEnd {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut lost = false;
    loop {
        tokio::select! {
            line = lines.next_line() => match line.ok().flatten().as_deref() {
                Some("interrupted") => orphans::end(run.id().as_str()).await,
                Some("sweep") => return RunEnd::Sweep,
                Some("keep") => return RunEnd::Keep,
                Some(line) => match line.strip_prefix("timeline") {
                    Some(sandbox) => {
                        let text = timeline(run, sandbox.trim_start(), reports, cx).await;
                        drop(say(&KeeperMessage::Timeline { text }));
                    }
                    None => return RunEnd::Orphaned,
                },
                None => return RunEnd::Orphaned,
            },
            () = run.lost(), if !lost => {
                lost = true;
                drop(say(&KeeperMessage::Lost));
            }
        }
    }
}

/// How long it may take to find out what changed outside of all runs.
const ESCAPES_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked for while the run goes on.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);
/// How long it may take to look up the leases that are left.
const LEAKS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to read what happened to keys.
const TIMELINE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to count what the sandboxes have written: a million changes take some seconds.
const SANDBOXES_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two attempts to sweep.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Sweeps, and retries if etcd does not answer: the server may restart for the same reason that killed the runner. After
/// the timeout the run is left to the next process that sweeps dead runs.
async fn sweep_for(run: Run, timeout: Duration) -> Result<RunSummary> {
    let (registry, id) = (run.registry().clone(), run.id().clone());
    let deadline = tokio::time::Instant::now() + timeout;
    let mut outcome = run.sweep().await;
    while outcome.is_err() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(RETRY_INTERVAL).await;
        outcome = Run::sweep_again(&registry, &id).await;
    }
    Ok(outcome?)
}

/// Looks again and again for what changes outside of all runs, so that little is left for the end, when the runner waits.
async fn search_escapes(mut search: EscapeSearch, mut stopped: oneshot::Receiver<()>) -> Option<Escapes> {
    loop {
        let is_last = tokio::select! {
            _ = &mut stopped => true,
            () = tokio::time::sleep(SEARCH_INTERVAL) => false,
        };
        let found = search.look().await;
        if is_last {
            let runs::Escapes { changes, keys, revisions, .. } = found.ok()?.clone();
            let keys = keys.iter().map(|key| Escaped(key).to_string()).collect();
            return Some(Escapes { changes, keys, revisions });
        }
    }
}

/// What a task finds. `None`: that cannot be read, or takes too long.
async fn found_within<T>(timeout: Duration, mut searching: JoinHandle<Option<T>>) -> Option<T> {
    let found = tokio::time::timeout(timeout, &mut searching).await;
    searching.abort();
    found.ok()?.ok()?
}

/// Leases, locks and processes that are left. `None`: that cannot be read, or takes too long.
async fn leaks(run: &Run, before: &BTreeSet<LeaseId>) -> Option<Leaks> {
    let looking = tokio::time::timeout(LEAKS_TIMEOUT, run.leaks(before));
    let (found, processes) = tokio::join!(looking, orphans::left(run.id().as_str()));
    let found = found.ok()?.ok()?;
    let runs::Leaks { leases, locks, without_keys, named, .. } = found;
    let named = named.into_iter().map(|lease| {
        let runs::LeftLease { id, ttl, keys, key, is_lock, .. } = lease;
        LeftLease { id: id.to_string(), ttl: ttl.as_secs(), keys, key: Escaped(&key).to_string(), is_lock }
    });
    Some(Leaks { leases, locks, without_keys, named: named.collect(), processes })
}

/// What each sandbox has written. `None`: that cannot be read, or takes too long.
async fn sandboxes(run: &Run) -> Option<Vec<SandboxSummary>> {
    let found = tokio::time::timeout(SANDBOXES_TIMEOUT, run.sandboxes()).await.ok()?.ok()?;
    let summary = |found: runs::SandboxSummary| {
        let runs::SandboxSummary { name, changes, keys, revisions, .. } = found;
        SandboxSummary { name, changes, keys, revisions }
    };
    Some(found.into_iter().map(summary).collect())
}

/// What happened to the keys of a sandbox, or of the whole run if the name is empty; if that cannot be read, why.
async fn timeline(run: &Run, sandbox: &str, reports: Option<&Path>, cx: &Context) -> String {
    let sandbox = Some(sandbox).filter(|name| !name.is_empty());
    let directory = reports.map(|reports| reports.join(run.id().as_str()).join("timelines"));
    let reading = async { Ok::<_, anyhow::Error>(run.timeline(sandbox, &cx.redaction()?, directory).await?) };
    match tokio::time::timeout(TIMELINE_TIMEOUT, reading).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => format!("no timeline of its keys: {error:#}\n"),
        Err(_) => format!("no timeline of its keys: it took more than {} s\n", TIMELINE_TIMEOUT.as_secs()),
    }
}

/// Stops the background sweep. Later runs sweep the rest.
async fn finish(cleaning: Option<JoinHandle<Result<u64, etcd_keys::Error>>>) {
    if let Some(cleaning) = cleaning {
        cleaning.abort();
        drop(cleaning.await);
    }
}

fn say(message: &KeeperMessage) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context("the runner does not read its keeper's messages")
}

impl Context {
    /// The runs of the cluster that the arguments name.
    pub(crate) async fn registry(&self) -> Result<Registry> {
        self.registry_of(&self.connect().await?)
    }

    pub(crate) fn registry_of(&self, connection: &Connection) -> Result<Registry> {
        let roots = etcd_sandbox::runs::Roots::new(self.root()?, &self.global.test_root, &self.global.protected)
            .map_err(|error| Failure {
                exit: Exit::Usage,
                what: error.to_string(),
                next: "`[workspace.metadata.etcd]` in Cargo.toml has `root`, `test-root` and `protected`".to_owned(),
            })?;
        Ok(Registry::new(connection, roots))
    }
}
