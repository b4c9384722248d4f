//! Runs whose runner, keeper or tests are killed with kill -9, four at a time on one etcd. When all their processes have
//! ended and `test-clean` has swept, no key of theirs is left, and no other key has changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_keys::{Connection, KeyRange};
use rustix::process::Signal;

use super::TEST_ROOT;
use super::canaries::Canaries;
use crate::processes::{self, Process};
use crate::torture::calls::RunningCall;
use crate::torture::testbed::{EphemeralServer, check_no_processes};
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};
use crate::wait;

const RUNS: usize = 4;
const BUILD: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Runner,
    Keeper,
    RunnerAndKeeper,
    KeeperAndRunner,
    Tests,
    All,
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let EphemeralServer { workspace, endpoint, connection, .. } = &round.ephemeral_server()?;
    let runtime = round.runtime();
    let canaries = runtime.block_on(Canaries::create(connection))?;

    // A run that is not killed: the first run may have to build what it needs.
    let line = ["run", "--endpoints", endpoint, "--", "true"];
    workspace.start(workspace.xtask(&line))?.finish_within(BUILD)?.ok()?;
    let runs = (0..RUNS).map(|number| Run::start(number, endpoint, workspace, round)).collect::<Result<Vec<_>>>()?;
    for Run { call: run, .. } in &runs {
        wait::until("a run has a keeper and tests", wait::TIMEOUT, || {
            let of_run = descendants(run.pid(), workspace);
            Ok(of_run.iter().any(is_keeper) && of_run.iter().filter(|process| !is_keeper(process)).count() >= 3)
        })?;
    }
    wait::until("tests write keys", wait::TIMEOUT, || Ok(runtime.block_on(count(connection))? > 20 * RUNS as i64))?;
    let mut stopped = Vec::new();
    for Run { call, end } in &runs {
        let killed = round.rng.choose([
            Killed::Runner,
            Killed::Keeper,
            Killed::RunnerAndKeeper,
            Killed::KeeperAndRunner,
            Killed::Tests,
            Killed::All,
        ]);
        wait::pause(round.rng.delay(60));
        kill(call.pid(), killed, workspace)?;
        round.tally.add("killed runs", 1);
        // The keeper of a killed runner sweeps, and ends the tests that are left.
        if killed != Killed::Runner {
            stopped.push(end);
        }
    }
    wait::pause(round.rng.delay(300));
    stopped.into_iter().try_for_each(|end| fs::write(end, ""))?;
    for run in runs {
        // Runs that were not killed end by themselves.
        run.call.finish()?;
    }
    check_no_processes(&workspace.dir)?;
    sweep(workspace, endpoint, || runtime.block_on(count(connection)))?;
    runtime.block_on(canaries.check(connection))?;
    Ok(Outcome::Completed)
}

/// A run whose tests and their children write keys.
struct Run {
    call: RunningCall,
    /// Its tests go on until this file exists.
    end: PathBuf,
}

impl Run {
    fn start(number: usize, endpoint: &str, workspace: &TortureWorkspace<'_>, round: &Round<'_>) -> Result<Self> {
        let end = workspace.path(&format!("end-of-tests-{number}"));
        let mut call = workspace.xtask(&["run", "--endpoints", endpoint, "--"]);
        call.arg(&round.programs().proof).args(["--xtask", "-", "writer", "--children", "2", "--until"]).arg(&end);
        Ok(Self { call: workspace.start(call)?, end })
    }
}

async fn count(connection: &Connection) -> Result<i64> {
    Ok(connection.all_keys().count(KeyRange::prefix(TEST_ROOT)).await?)
}

/// Sweeps until no key is left: a dead run's lease may have to expire first.
fn sweep(workspace: &TortureWorkspace<'_>, endpoint: &str, mut count: impl FnMut() -> Result<i64>) -> Result<()> {
    let gone = wait::poll(wait::TIMEOUT, || {
        workspace.start(workspace.console(endpoint, &["test-clean"]))?.finish()?.ok()?;
        let left = count()?;
        if left > 0 {
            wait::pause(Duration::from_millis(200));
        }
        Ok((left == 0).then_some(()))
    })?;
    let left = count()?;
    let runs = workspace.start(workspace.console(endpoint, &["runs"]))?.finish()?.ok()?.stdout;
    ensure!(gone.is_some(), "{left} keys are left below the test root; `runs` says: {}", runs.replace('\n', " / "));
    Ok(())
}

fn kill(runner: u32, killed: Killed, workspace: &TortureWorkspace<'_>) -> Result<()> {
    let of_run = descendants(runner, workspace);
    let (keepers, tests): (Vec<&Process>, Vec<&Process>) = of_run.iter().partition(|process| is_keeper(process));
    let pids = |processes: Vec<&Process>| processes.into_iter().map(|process| process.pid).collect::<Vec<_>>();
    let (keepers, tests) = (pids(keepers), pids(tests));
    let order = match killed {
        Killed::Runner => vec![runner],
        Killed::Keeper => keepers,
        Killed::RunnerAndKeeper => [vec![runner], keepers].concat(),
        Killed::KeeperAndRunner => [keepers, vec![runner]].concat(),
        Killed::Tests => tests,
        Killed::All => [tests, keepers, vec![runner]].concat(),
    };
    for pid in order {
        processes::signal(pid, &workspace.dir, Signal::KILL)?;
    }
    Ok(())
}

fn is_keeper(process: &Process) -> bool {
    process.line.contains(" keep ")
}

fn descendants(runner: u32, workspace: &TortureWorkspace<'_>) -> Vec<Process> {
    let all = processes::of(&workspace.dir);
    let mut family = BTreeSet::from([runner]);
    loop {
        let more: Vec<u32> = all.iter().filter(|one| family.contains(&one.parent)).map(|one| one.pid).collect();
        let before = family.len();
        family.extend(more);
        if family.len() == before {
            break;
        }
    }
    all.into_iter().filter(|process| process.pid != runner && family.contains(&process.pid)).collect()
}
