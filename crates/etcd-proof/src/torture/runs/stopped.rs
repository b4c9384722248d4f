//! Live runs whose server is paused by SIGSTOP for two to five times their TTL, so that their leases expire, while
//! `test-clean` sweeps: no key of theirs is deleted. Some runs have a lock that the sweepers cannot see, like runs of
//! another host or container.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use etcd_keys::{Connection, KeyRange};
use rustix::process::Signal;
use serde::Deserialize;

use crate::torture::calls::RunningCall;
use crate::torture::keyspace::{self, Contents};
use crate::torture::testbed::EphemeralServer;
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};
use crate::{processes, wait};

const RUNS: usize = 3;
const SWEEPERS: usize = 2;
/// The runs' time to live.
const TTL: Duration = Duration::from_secs(1);
/// A sweeper watches a run whose lock it cannot see for at most twenty times that.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let EphemeralServer { workspace, endpoint, connection, .. } = &round.ephemeral_server()?;
    let runtime = round.runtime();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let run = Run::start(workspace, endpoint)?;
        if round.rng.one_in(2) {
            fs::rename(&run.registered.lock, run.registered.lock.with_extension("elsewhere"))?;
        }
        runtime
            .block_on(keyspace::fill(connection, (0..50).map(|n| format!("{}{n}", run.registered.prefix).into())))?;
        runs.push(run);
    }
    let before = runs.iter().map(|run| runtime.block_on(run.keys(connection))).collect::<Result<Vec<_>>>()?;

    let (dir, program) = (round.dir.clone(), &round.programs().etcd);
    let sweep = || workspace.start(workspace.console(endpoint, &["--timeout", "30", "test-clean"]));
    // Sweepers that start before or during the pause may fail. Some start after it.
    let mut sweepers = vec![sweep()?];
    processes::signal_running(&dir, program, Signal::STOP)?;
    sweepers.extend((0..SWEEPERS).map(|_| sweep()).collect::<Result<Vec<_>>>()?);
    wait::pause(TTL * 2 + round.rng.delay(3_000));
    processes::signal_running(&dir, program, Signal::CONT)?;
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(sweep()?);
        wait::pause(round.rng.delay(150));
    }
    round.tally.add("sweeps", (sweepers.len() + late.len()) as u64);
    for sweeper in sweepers {
        sweeper.finish_within(SWEEP_TIMEOUT)?.ends_with(&[0, 1])?;
    }
    for sweeper in late {
        sweeper.finish_within(SWEEP_TIMEOUT)?.ok()?;
    }
    for (run, before) in runs.iter().zip(&before) {
        let now = runtime.block_on(run.keys(connection))?;
        keyspace::same(&format!("the live run {}", run.registered.run), before, &now)?;
        run.check_not_lost()?;
        round.tally.add("live runs", 1);
    }
    for run in runs {
        run.end()?;
    }
    Ok(Outcome::Completed)
}

/// A run like that of `cargo xtask run`: a keeper, and its lock held by us.
struct Run {
    keeper: RunningCall,
    registered: Registered,
    _lock: File,
}

#[derive(Deserialize)]
struct Registered {
    run: String,
    prefix: String,
    lock: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeeperMessage {
    Registered(Registered),
    Lost,
    Ended { lost: bool },
}

impl Run {
    fn start(workspace: &TortureWorkspace<'_>, endpoint: &str) -> Result<Self> {
        let (locks, runner) = (workspace.path(".etcd/runs").display().to_string(), std::process::id().to_string());
        let args = ["keep", "--lock-dir", &locks, "--runner", &runner, "--ttl", "1", "--no-cleaning"];
        let mut command = workspace.console(endpoint, &args);
        command.stdin(Stdio::piped());
        let mut keeper = workspace.start(command)?;
        let registered = wait::poll(wait::TIMEOUT, || {
            ensure!(!keeper.has_ended()?, "the keeper ended before it had registered its run");
            Ok(messages(&keeper.stdout_file())?.into_iter().find_map(|message| match message {
                KeeperMessage::Registered(registered) => Some(registered),
                _ => None,
            }))
        })?;
        let registered = registered.context("the keeper registered no run")?;
        let lock = File::open(&registered.lock)?;
        lock.try_lock_shared().context("cannot hold the run's lock")?;
        Ok(Self { keeper, registered, _lock: lock })
    }

    async fn keys(&self, connection: &Connection) -> Result<Contents> {
        let mut all = keyspace::contents(connection, KeyRange::prefix(self.registered.prefix.as_str())).await?;
        // `.alive` comes and goes with its lease.
        all.retain(|key, _| !key.ends_with(b"/.alive"));
        Ok(all)
    }

    fn check_not_lost(&self) -> Result<()> {
        let is_lost =
            messages(&self.keeper.stdout_file())?.iter().any(|message| matches!(message, KeeperMessage::Lost));
        ensure!(!is_lost, "the keeper of {} says that its run was taken away", self.registered.run);
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        use std::io::Write as _;

        drop(self._lock);
        self.keeper.stdin().context("the keeper has no stdin")?.write_all(b"sweep\n")?;
        let stdout = self.keeper.stdout_file();
        self.keeper.finish()?.ok()?;
        let ended = messages(&stdout)?.iter().any(|message| matches!(message, KeeperMessage::Ended { lost: false }));
        ensure!(ended, "the keeper of {} did not sweep it", self.registered.run);
        Ok(())
    }
}

/// A keeper's messages. Its last line may be incomplete, and is left out then.
fn messages(path: &Path) -> Result<Vec<KeeperMessage>> {
    let text = fs::read_to_string(path)?;
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("the keeper printed `{line}`"))).collect()
}
