//! The processor time of an idle server: ours, and a plain etcd at the same time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Setup;
use super::measured::cpu_seconds;
use super::plain_etcd::{PLAIN, PlainEtcd};
use super::report::Row;
use super::workspace::BenchWorkspace;
use crate::wait;

/// For the work of a start that goes on after the first answer.
const AFTER_START: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(30);

/// `None` where the system does not show processor time.
pub(super) fn measure(rounds: u32, etcd: &Path, setup: &Setup<'_>) -> Result<Option<Row>> {
    if cpu_seconds(std::process::id()).is_none() {
        return Ok(None);
    }
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let workspace = BenchWorkspace::new(setup, Some(etcd))?;
        let up = workspace.up()?;
        let other = PlainEtcd::new(setup, etcd)?;
        let server = other.start()?;
        let pid = *up.pids.first().context("`etcd-up` names no process")?;
        idle(AFTER_START)?;
        let before = (used(pid)?, used(server.pid())?, Instant::now());
        idle(MEASURED)?;
        let percent = 100.0 / before.2.elapsed().as_secs_f64();
        ours.push((used(pid)? - before.0) * percent);
        plain.push((used(server.pid())? - before.1) * percent);
    }
    let what = format!("idle, of a core, {} s", MEASURED.as_secs());
    Ok(Some(Row::new(what, "%", ours)?.beside(PLAIN, plain)?.at_most(0.6)))
}

fn used(pid: u32) -> Result<f64> {
    cpu_seconds(pid).with_context(|| format!("the server with pid {pid} has ended"))
}

/// Lets the time pass; Ctrl-C ends it.
fn idle(duration: Duration) -> Result<()> {
    wait::poll(duration, || Ok(None::<()>)).map(drop)
}
