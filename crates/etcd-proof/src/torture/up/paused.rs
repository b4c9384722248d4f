//! The server is paused by SIGSTOP: no command calls it ready, none hangs, and `etcd-down` and `etcd-reset` end it.

use anyhow::{Result, ensure};
use etcd_local::State;
use rustix::process::Signal;

use super::record;
use crate::torture::{Outcome, Round};
use crate::wait;

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    let up = workspace.up()?;
    record::put(&up, "v")?;
    workspace.signal_server(Signal::STOP)?;
    let status = workspace.status()?;
    ensure!(status.state == State::Starting && status.pids == up.pids, "a stopped server is {:?}", status.state);
    let wiped = match round.rng.choose([0, 1, 2, 2]) {
        0 => {
            // A paused server does not act on SIGTERM: after the timeout it is killed.
            workspace.down()?;
            false
        }
        1 => {
            workspace.call(&["etcd-reset", "--yes"])?.ok()?;
            workspace.check_status()?;
            true
        }
        _ => {
            let waiting = workspace.start(workspace.xtask(&["etcd-up", "--format", "json"]))?;
            wait::pause(round.rng.delay(1_500));
            workspace.signal_server(Signal::CONT)?;
            let again: etcd_local::Status = waiting.finish()?.ok()?.json()?;
            ensure!(again.pids == up.pids, "another server was started beside the one that was stopped");
            false
        }
    };
    let key = record::get(&workspace.up()?)?;
    ensure!(key.is_none() == wiped, "the key is {key:?}");
    workspace.down()?;
    Ok(Outcome::Completed)
}
