//! `keep`: the keeper of a run. Registers it, keeps it alive while its runner works, and ends it as the runner
//! says, or as it must when the runner is gone. Speaks JSON lines: what the runner reads on stdout is [`KeeperMessage`],
//! what it writes to stdin are words, a line each: `interrupted` has what the run left running ended, `sweep` or `keep`
//! is the last one; the end of stdin without it means that the runner died.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_sandbox::runs::{Plan, Registry, Run, RunSummary};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinHandle;

use crate::cli::Keep;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::orphans;

/// What a keeper tells its runner, one message a line.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KeeperMessage {
    /// The run is registered.
    Registered { run: String, prefix: String, lock: PathBuf, variables: Vec<(&'static str, String)> },
    /// Somebody else has taken it away; nothing can be relied on any more.
    Lost,
    /// It has ended.
    Ended { keys: u64, stragglers: bool, lost: bool },
}

pub(crate) async fn run(args: Keep, cx: &Context) -> Result<ExitCode> {
    outlive_signals()?;
    let registry = cx.registry().await?;
    let run = match &args.adopt {
        Some(id) => Run::adopt(&registry, id.clone()).await?.context("the run is being swept")?,
        None => {
            let plan = Plan::new(&args.lock_dir, &args.command).runner(args.runner);
            Run::start(&registry, plan.ttl(Duration::from_secs(args.ttl))).await?
        }
    };
    let told = say(&KeeperMessage::Registered {
        run: run.id().to_string(),
        prefix: run.prefix(),
        lock: run.lock().to_owned(),
        variables: run.variables(),
    });
    // What dead runs left goes meanwhile.
    let lock_dir = args.lock_dir;
    let cleaning = (!args.no_cleaning).then(|| tokio::spawn(async move { registry.sweep_dead(&lock_dir).await }));
    let end = match told {
        Ok(()) => wait_for_end(&run).await,
        // It died meanwhile.
        Err(_) => RunEnd::Orphaned,
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
    // A runner that is gone reads nothing.
    let RunSummary { keys, stragglers, lost, .. } = ended;
    let told = say(&KeeperMessage::Ended { keys, stragglers, lost });
    if !matches!(end, RunEnd::Orphaned) {
        told?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, a closed terminal and a CI job that is cancelled end whole groups of processes. Only the runner's end
/// is what ends a keeper: it has to sweep then.
fn outlive_signals() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            // Once it is caught it stays so, also when nobody listens any more.
            drop(signal(kind).context("cannot catch signals")?);
        }
    }
    #[cfg(windows)]
    {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
        let failed = "cannot catch signals";
        let mut interrupt = ctrl_c().context(failed)?;
        let (mut stop, mut close) = (ctrl_break().context(failed)?, ctrl_close().context(failed)?);
        // They are caught as long as somebody listens.
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

/// Waits for the runner's word, and tells it when the run is lost.
async fn wait_for_end(run: &Run) -> RunEnd {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut lost = false;
    loop {
        tokio::select! {
            line = lines.next_line() => match line.ok().flatten().as_deref() {
                Some("interrupted") => orphans::end(run.id().as_str()).await,
                Some("sweep") => return RunEnd::Sweep,
                Some("keep") => return RunEnd::Keep,
                _ => return RunEnd::Orphaned,
            },
            () = run.lost(), if !lost => {
                lost = true;
                drop(say(&KeeperMessage::Lost));
            }
        }
    }
}

/// How often a sweep is tried again.
const PACE: Duration = Duration::from_millis(500);

/// Sweeps, though etcd may be away for a while: whatever killed the runner may have shaken the server, too. After that
/// the lease has run out, and the run is for the next one who cleans.
async fn sweep_for(run: Run, timeout: Duration) -> Result<RunSummary> {
    let (registry, id) = (run.registry().clone(), run.id().clone());
    let deadline = tokio::time::Instant::now() + timeout;
    let mut outcome = run.sweep().await;
    while outcome.is_err() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(PACE).await;
        outcome = Run::sweep_again(&registry, &id).await;
    }
    Ok(outcome?)
}

/// Gives cleaning that is under way no time: what is not swept by now is there for the next one.
async fn finish(cleaning: Option<JoinHandle<Result<u64, etcd_keys::Error>>>) {
    if let Some(cleaning) = cleaning {
        cleaning.abort();
        drop(cleaning.await);
    }
}

fn say(said: &KeeperMessage) -> Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context("the runner does not listen")
}

impl Context {
    /// The runs of the cluster that the arguments name.
    pub(crate) async fn registry(&self) -> Result<Registry> {
        let roots = etcd_sandbox::runs::Roots::new(self.root()?, &self.global.test_root, &self.global.protected)
            .map_err(|error| Failure {
                exit: Exit::Usage,
                what: error.to_string(),
                next: "`[workspace.metadata.etcd]` in Cargo.toml has `root`, `test-root` and `protected`".to_owned(),
            })?;
        Ok(Registry::new(&self.connect().await?, roots))
    }
}
