//! Live runs while their server is stopped by SIGSTOP for two to five times their time to live, so that their leases run
//! out, and while others sweep: no key of theirs goes. Some of the runs have their lock where the sweepers cannot see it,
//! as those of another host or container.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use etcd_keys::{Connection, KeyRange};
use rustix::process::Signal;
use serde::Deserialize;

use crate::torture::arena::Ground;
use crate::torture::calls::Pending;
use crate::torture::keyspace::{self, Contents};
use crate::torture::workspace::Workspace;
use crate::torture::{Played, Round};
use crate::{processes, wait};

const RUNS: usize = 3;
const SWEEPERS: usize = 2;
/// What the runs have to live without a sign of life.
const TTL: Duration = Duration::from_secs(1);
/// A sweeper watches a run that it cannot ask for at most twenty times that.
const WATCHED: Duration = Duration::from_secs(60);

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let Ground { workspace, endpoint, connection, .. } = &round.ground()?;
    let runtime = round.runtime();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let run = Run::start(workspace, endpoint)?;
        if round.dice.once_in(2) {
            fs::rename(&run.said.lock, run.said.lock.with_extension("elsewhere"))?;
        }
        runtime.block_on(keyspace::fill(connection, (0..50).map(|n| format!("{}{n}", run.said.prefix).into())))?;
        runs.push(run);
    }
    let before = runs.iter().map(|run| runtime.block_on(run.keys(connection))).collect::<Result<Vec<_>>>()?;

    let (dir, program) = (round.dir.clone(), round.programs().etcd.clone());
    let stop = |signal| {
        let servers = processes::running(&dir, &program);
        ensure!(!servers.is_empty(), "there is no server that could be signalled");
        servers.into_iter().try_for_each(|pid| Ok(processes::signal(pid, &dir, signal)?))
    };
    let sweep = || workspace.start(workspace.console(endpoint, &["--timeout", "30", "test-clean"]));
    // Some are at it before, some come while it stands still: those may give up. Some come when it goes on.
    let mut sweepers = vec![sweep()?];
    stop(Signal::STOP)?;
    sweepers.extend((0..SWEEPERS).map(|_| sweep()).collect::<Result<Vec<_>>>()?);
    wait::pause(TTL * 2 + round.dice.moment(3_000));
    stop(Signal::CONT)?;
    let mut late = Vec::new();
    for _ in 0..3 {
        late.push(sweep()?);
        wait::pause(round.dice.moment(150));
    }
    round.tally.add("sweeps", (sweepers.len() + late.len()) as u64);
    for sweeper in sweepers {
        sweeper.finish_within(WATCHED)?.ends_with(&[0, 1])?;
    }
    for sweeper in late {
        sweeper.finish_within(WATCHED)?.ok()?;
    }
    for (run, before) in runs.iter().zip(&before) {
        let now = runtime.block_on(run.keys(connection))?;
        keyspace::same(&format!("the live run {}", run.said.run), before, &now)?;
        run.is_not_lost()?;
        round.tally.add("live runs", 1);
    }
    for run in runs {
        run.end()?;
    }
    Ok(Played::Through)
}

/// A run as `cargo xtask run` has it: a keeper, and its lock held by us.
struct Run {
    keeper: Pending,
    said: Registered,
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
enum Said {
    Registered(Registered),
    Lost,
    Ended { lost: bool },
}

impl Run {
    fn start(workspace: &Workspace<'_>, endpoint: &str) -> Result<Self> {
        let (locks, runner) = (workspace.path(".etcd/runs").display().to_string(), std::process::id().to_string());
        let args = ["keep", "--lock-dir", &locks, "--runner", &runner, "--ttl", "1", "--no-cleaning"];
        let mut command = workspace.console(endpoint, &args);
        command.stdin(Stdio::piped());
        let mut keeper = workspace.start(command)?;
        let said = wait::look(wait::PATIENCE, || {
            ensure!(!keeper.is_over()?, "the keeper ended before it had registered its run");
            let heard = heard(&keeper)?.into_iter().next();
            Ok(heard.and_then(|said| if let Said::Registered(said) = said { Some(said) } else { None }))
        })?;
        let said = said.context("the keeper registered no run")?;
        let lock = File::open(&said.lock)?;
        lock.try_lock_shared().context("cannot hold the run's lock")?;
        Ok(Self { keeper, said, _lock: lock })
    }

    async fn keys(&self, connection: &Connection) -> Result<Contents> {
        let mut all = keyspace::contents(connection, KeyRange::prefix(self.said.prefix.as_str())).await?;
        // `.alive` comes and goes with its lease.
        all.retain(|key, _| !key.ends_with(b"/.alive"));
        Ok(all)
    }

    fn is_not_lost(&self) -> Result<()> {
        match heard(&self.keeper)?.into_iter().find(|said| matches!(said, Said::Lost)) {
            Some(_) => bail!("the keeper of {} says that its run was taken away", self.said.run),
            None => Ok(()),
        }
    }

    fn end(mut self) -> Result<()> {
        use std::io::Write as _;

        drop(self._lock);
        self.keeper.stdin().context("the keeper has no stdin")?.write_all(b"sweep\n")?;
        let out = self.keeper.said();
        self.keeper.finish()?.ok()?;
        let ended = said_in(&out)?.into_iter().any(|said| matches!(said, Said::Ended { lost: false }));
        ensure!(ended, "the keeper of {} did not sweep it", self.said.run);
        Ok(())
    }
}

fn heard(keeper: &Pending) -> Result<Vec<Said>> {
    said_in(&keeper.said())
}

/// Whole lines only: the last one may be under way.
fn said_in(path: &std::path::Path) -> Result<Vec<Said>> {
    let text = fs::read_to_string(path)?;
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("the keeper said `{line}`"))).collect()
}
