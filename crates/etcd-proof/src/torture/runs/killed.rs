//! Runs whose runner, keeper or tests are killed with kill -9, four at a time on one etcd. When all of their processes
//! have ended and somebody has swept, nothing of them is left, and nothing else is touched.

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
use crate::torture::arena::{self, Ground};
use crate::torture::calls::Pending;
use crate::torture::workspace::Workspace;
use crate::torture::{Played, Round};
use crate::wait;

const RUNS: usize = 4;
const BUILD: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Runner,
    Keeper,
    RunnerAndKeeper,
    KeeperAndRunner,
    Tests,
    All,
}

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let Ground { workspace, endpoint, connection, .. } = &round.ground()?;
    let runtime = round.runtime();
    let canaries = runtime.block_on(Canaries::set_out(connection))?;

    // One that nobody kills; the first of them may have to build what it needs.
    let line = ["run", "--endpoints", endpoint, "--", "true"];
    workspace.start(workspace.xtask(&line))?.finish_within(BUILD)?.ok()?;
    let runs = (0..RUNS).map(|number| Run::start(number, endpoint, workspace, round)).collect::<Result<Vec<_>>>()?;
    for Run { call: run, .. } in &runs {
        wait::until("a run has a keeper and tests", wait::PATIENCE, || {
            let of_run = descendants(run.pid(), workspace);
            Ok(of_run.iter().any(is_keeper) && of_run.iter().filter(|process| !is_keeper(process)).count() >= 3)
        })?;
    }
    wait::until("tests write keys", wait::PATIENCE, || Ok(runtime.block_on(count(connection))? > 20 * RUNS as i64))?;
    let mut told_to_end = Vec::new();
    for Run { call, end } in &runs {
        let victim = round.dice.pick([
            Victim::Runner,
            Victim::Keeper,
            Victim::RunnerAndKeeper,
            Victim::KeeperAndRunner,
            Victim::Tests,
            Victim::All,
        ]);
        wait::pause(round.dice.moment(60));
        kill(call.pid(), victim, workspace)?;
        round.tally.add("killed runs", 1);
        // A keeper that lost its runner sweeps, and tests that are left over end by themselves.
        if victim != Victim::Runner {
            told_to_end.push(end);
        }
    }
    wait::pause(round.dice.moment(300));
    told_to_end.into_iter().try_for_each(|end| fs::write(end, ""))?;
    for run in runs {
        // Those that were not killed end as runs do.
        run.call.finish()?;
    }
    arena::nobody_in(&workspace.dir)?;
    swept(workspace, endpoint, || runtime.block_on(count(connection)))?;
    runtime.block_on(canaries.are_well(connection))?;
    Ok(Played::Through)
}

/// A run of tests that write, and have children who do.
struct Run {
    call: Pending,
    /// Its tests go on until there is this file.
    end: PathBuf,
}

impl Run {
    fn start(number: usize, endpoint: &str, workspace: &Workspace<'_>, round: &Round<'_>) -> Result<Self> {
        let end = workspace.path(&format!("end-of-tests-{number}"));
        let mut call = workspace.xtask(&["run", "--endpoints", endpoint, "--"]);
        call.arg(&round.programs().proof).args(["--xtask", "-", "writer", "--children", "2", "--until"]).arg(&end);
        Ok(Self { call: workspace.start(call)?, end })
    }
}

async fn count(connection: &Connection) -> Result<i64> {
    Ok(connection.all_keys().count(KeyRange::prefix(TEST_ROOT)).await?)
}

/// Sweeps until nothing is left: a dead run's lease may have to run out first.
fn swept(workspace: &Workspace<'_>, endpoint: &str, mut count: impl FnMut() -> Result<i64>) -> Result<()> {
    let gone = wait::look(wait::PATIENCE, || {
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

fn kill(runner: u32, victim: Victim, workspace: &Workspace<'_>) -> Result<()> {
    let of_run = descendants(runner, workspace);
    let (keepers, tests): (Vec<&Process>, Vec<&Process>) = of_run.iter().partition(|process| is_keeper(process));
    let pids = |processes: Vec<&Process>| processes.into_iter().map(|process| process.pid).collect::<Vec<_>>();
    let (keepers, tests) = (pids(keepers), pids(tests));
    let order = match victim {
        Victim::Runner => vec![runner],
        Victim::Keeper => keepers,
        Victim::RunnerAndKeeper => [vec![runner], keepers].concat(),
        Victim::KeeperAndRunner => [keepers, vec![runner]].concat(),
        Victim::Tests => tests,
        Victim::All => [tests, keepers, vec![runner]].concat(),
    };
    for pid in order {
        processes::signal(pid, &workspace.dir, Signal::KILL)?;
    }
    Ok(())
}

fn is_keeper(process: &Process) -> bool {
    process.line.contains(" keep ")
}

fn descendants(runner: u32, workspace: &Workspace<'_>) -> Vec<Process> {
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
