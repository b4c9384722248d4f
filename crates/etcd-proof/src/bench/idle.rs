//! The processor time of idle servers: ours, and a plain etcd at the same time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Setup;
use super::measured::cpu_seconds;
use super::plain_etcd::{PLAIN, PlainEtcd, PlainServer};
use super::report::Row;
use super::workspace::BenchWorkspace;
use crate::wait;

/// For the work of a start that goes on after the first answer.
const AFTER_START: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(30);

/// Of an instance of so many members. `None` where the system does not show processor time.
pub(super) fn measure(members: usize, rounds: u32, etcd: &Path, setup: &Setup<'_>) -> Result<Option<Row>> {
    if cpu_seconds(std::process::id()).is_none() {
        return Ok(None);
    }
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let workspace = BenchWorkspace::new(setup, Some(etcd))?;
        workspace.xtask(&["etcd-up", "--members", &members.to_string()])?;
        let pids = workspace.up()?.pids;
        let other = PlainEtcd::new(setup, etcd)?;
        let servers = other.start_members(members)?;
        let plain_pids: Vec<u32> = servers.iter().map(PlainServer::pid).collect();
        idle(AFTER_START)?;
        let before = (used(&pids)?, used(&plain_pids)?, Instant::now());
        idle(MEASURED)?;
        let percent = 100.0 / before.2.elapsed().as_secs_f64();
        ours.push((used(&pids)? - before.0) * percent);
        plain.push((used(&plain_pids)? - before.1) * percent);
    }
    let of = if members == 1 { String::new() } else { format!("{members} members ") };
    let what = format!("{of}idle, of a core, {} s", MEASURED.as_secs());
    Ok(Some(Row::new(what, "%", ours)?.beside(PLAIN, plain)?))
}

fn used(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|&pid| cpu_seconds(pid).with_context(|| format!("the server with pid {pid} has ended"))).sum()
}

/// Lets the time pass; Ctrl-C ends it.
fn idle(duration: Duration) -> Result<()> {
    wait::poll(duration, || Ok(None::<()>)).map(drop)
}
