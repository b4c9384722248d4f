//! A hundred `etcd-up` at once: they start one server, and all of them name it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use etcd_local::Status;
use serde::Deserialize;

use crate::torture::calls::RunningCall;
use crate::torture::{Outcome, Round};

const CALLS: usize = 100;

#[derive(Deserialize)]
struct Answer {
    started: bool,
    #[serde(flatten)]
    status: Status,
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    // No instance, a stopped instance, or a killed server.
    if round.rng.one_in(2) {
        workspace.up()?;
        if round.rng.one_in(2) { workspace.down()? } else { workspace.kill_server()? }
    }
    let start = |_| workspace.start(workspace.xtask(&["etcd-up", "--format", "json"]));
    let calls = (0..CALLS).map(start).collect::<Result<Vec<RunningCall>>>()?;
    let (mut pids, mut started) = (BTreeSet::new(), 0);
    for call in calls {
        let answer: Answer = call.finish()?.ok()?.json()?;
        started += usize::from(answer.started);
        pids.insert(answer.status.pids);
    }
    let servers = workspace.servers();
    ensure!(started == 1, "{started} calls say that they started it");
    ensure!(pids.len() == 1 && pids.first() == Some(&servers), "they name {pids:?}, there are {servers:?}");
    ensure!(servers.len() == 1, "there are {} servers", servers.len());
    round.tally.add("calls", CALLS as u64);
    workspace.down()?;
    Ok(Outcome::Completed)
}
