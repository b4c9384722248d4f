//! `bench start`: our starts beside the same binary started by hand with its default flags, in turn; each command as a
//! whole process; idle servers; and restarts on data of many keys.

use std::path::Path;

use anyhow::Result;
use semver::Version;

use super::machine::{self, NEW, OLD};
use super::plain_etcd::{PLAIN, PlainEtcd};
use super::report::{Row, Size};
use super::workspace::BenchWorkspace;
use super::{Setup, idle, keyspace};

pub(super) fn measure(rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (version, fresh, restart) in [(NEW, 0.2, 0.35), (OLD, 0.2, 0.1)] {
        let etcd = machine::etcd(&version, setup.cx)?;
        rows.extend(starts(rounds, &version, &etcd, (fresh, restart), setup)?);
        if version == NEW {
            rows.extend(commands(rounds, &etcd, setup)?);
            let rounds_idle = if setup.workload.quick { 1 } else { rounds.min(3) };
            rows.extend(idle::measure(1, rounds_idle, &etcd, setup)?.map(|row| row.at_most(0.6)));
            rows.extend(restarts_with_keys(rounds.min(3), &etcd, setup)?);
        }
    }
    Ok(rows)
}

fn starts(rounds: u32, version: &Version, etcd: &Path, targets: (f64, f64), setup: &Setup<'_>) -> Result<Vec<Row>> {
    let [mut fresh, mut restart, mut plain_fresh, mut plain_restart] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let ours = BenchWorkspace::new(setup, Some(etcd))?;
        fresh.push(ours.up()?.ready_ms);
        ours.xtask(&["etcd-down"])?;
        let plain = PlainEtcd::new(setup, etcd)?;
        plain_fresh.push(plain.start()?.ready_ms);
        restart.push(ours.up()?.ready_ms);
        ours.xtask(&["etcd-down"])?;
        plain_restart.push(plain.start()?.ready_ms);
    }
    let row = |what: &str, ours, plain, target| -> Result<Row> {
        let row = Row::new(format!("{what}, etcd {version}"), "ms", ours)?;
        Ok(row.beside(PLAIN, plain)?.ratio_at_most(target))
    };
    Ok(vec![
        row("fresh start", fresh, plain_fresh, targets.0)?,
        row("restart on its data", restart, plain_restart, targets.1)?,
    ])
}

fn commands(rounds: u32, etcd: &Path, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let [mut overhead, mut status, mut again, mut reset, mut down, mut memory] = [const { Vec::new() }; 6];
    for _ in 0..rounds {
        let ours = BenchWorkspace::new(setup, Some(etcd))?;
        let up = ours.up()?;
        overhead.push(up.measured.ms() - up.ready_ms);
        memory.extend(up.measured.peak_mb);
        status.push(ours.xtask(&["etcd-status"])?.ms());
        again.push(ours.xtask(&["etcd-up"])?.ms());
        reset.push(ours.xtask(&["etcd-reset", "--yes"])?.ms());
        down.push(ours.xtask(&["etcd-down"])?.ms());
    }
    let mut rows = vec![
        Row::new("`etcd-up` beyond spawn to ready", "ms", overhead)?.at_most(50.0),
        Row::new("`etcd-up` when it is up", "ms", again)?,
        Row::new("`etcd-status`", "ms", status)?.at_most(30.0),
        Row::new("`etcd-reset` of a running instance", "ms", reset)?.at_most(250.0),
        Row::new("`etcd-down`", "ms", down)?.at_most(60.0),
    ];
    if !memory.is_empty() {
        rows.push(Row::new("memory of `etcd-up`", "MB", memory)?.at_most(15.0));
    }
    Ok(rows)
}

/// How the time of a restart grows with the data.
fn restarts_with_keys(rounds: u32, etcd: &Path, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for keys in setup.workload.keys() {
        let (ours, plain) = (BenchWorkspace::new(setup, Some(etcd))?, PlainEtcd::new(setup, etcd)?);
        keyspace::fill(setup, &ours.up()?.endpoints.concat(), *keys)?;
        ours.xtask(&["etcd-down"])?;
        let server = plain.start()?;
        keyspace::fill(setup, &server.url, *keys)?;
        drop(server);
        let (mut took, mut plain_took) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            took.push(ours.up()?.ready_ms / 1e3);
            ours.xtask(&["etcd-down"])?;
            plain_took.push(plain.start()?.ready_ms / 1e3);
        }
        rows.push(Row::new("restart on many keys", "s", took)?.size(Size::keys(*keys)).beside(PLAIN, plain_took)?);
    }
    Ok(rows)
}
