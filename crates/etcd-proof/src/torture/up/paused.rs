//! The server is stopped by SIGSTOP for a while: nobody calls it ready, nobody hangs, and it is ended if it must be.

use anyhow::{Result, ensure};
use etcd_local::State;
use rustix::process::Signal;

use super::record;
use crate::torture::{Played, Round};
use crate::wait;

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let workspace = round.workspace("w")?;
    let up = workspace.up()?;
    record::put(&up, "dg==")?;
    workspace.signal_server(Signal::STOP)?;
    let status = workspace.status()?;
    ensure!(status.state == State::Starting && status.pids == up.pids, "a stopped server is {:?}", status.state);
    let wiped = match round.dice.pick([0, 1, 2, 2]) {
        0 => {
            // It cannot hear SIGTERM: after the grace it is killed.
            workspace.down()?;
            false
        }
        1 => {
            workspace.call(&["etcd-reset", "--yes"])?.ok()?;
            workspace.check_truth()?;
            true
        }
        _ => {
            let waiting = workspace.start(workspace.xtask(&["etcd-up", "--format", "json"]))?;
            wait::pause(round.dice.moment(1_500));
            workspace.signal_server(Signal::CONT)?;
            let again: etcd_local::Status = waiting.finish()?.ok()?.json()?;
            ensure!(again.pids == up.pids, "another server was started beside the one that was stopped");
            false
        }
    };
    let key = record::get(&workspace.up()?)?;
    ensure!(key.is_none() == wiped, "the key is {key:?}");
    workspace.down()?;
    Ok(Played::Through)
}
