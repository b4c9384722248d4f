//! `bench cluster`: ephemeral clusters of several members beside the same binary started by hand with its default flags, in
//! turn; persistent ones; and how long nobody can write when the leader is killed.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use etcd_local::Ephemeral;
use etcd_local::binary::Wanted;

use super::machine::{self, NEW};
use super::plain_etcd::{PLAIN, PlainEtcd, PlainServer};
use super::report::Row;
use super::workspace::BenchWorkspace;
use super::{Notes, Setup, failover, idle};
use crate::{wait, workspace};

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.add(
        "a write is sent every 10 ms: one that a member gets before it knows that the leader is lost takes seconds",
    );
    notes.add("plain members are started all at once: they wait for one another by chance, up to some seconds");
    let mut rows = starts(3, 200.0, rounds, setup)?;
    rows.extend(starts(5, 350.0, rounds, setup)?);
    rows.extend(persistent(rounds, setup)?);
    if !setup.workload.quick {
        let etcd = machine::etcd(&NEW, setup.cx)?;
        rows.extend(idle::measure(3, rounds.min(3), &etcd, setup)?.map(|row| row.ratio_at_most(1.6)));
    }
    let members = cluster(3, setup)?;
    rows.extend(leader_lost(&members, rounds, setup)?);
    rows.extend(failover::measure(&members, setup.workload.quick)?);
    Ok(rows)
}

fn starts(members: usize, target_ms: f64, rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let etcd = machine::etcd(&NEW, setup.cx)?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        wait::check_interrupted()?;
        ours.push(cluster(members, setup)?.ready_after().as_secs_f64() * 1e3);
        let other = PlainEtcd::new(setup, &etcd)?;
        let mut servers = other.start_members(members)?;
        plain.push(servers.last().context("no member was started")?.ready_ms);
        servers.iter_mut().try_for_each(PlainServer::kill)?;
    }
    let slowest = ours.iter().copied().fold(0.0, f64::max);
    let worst = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain * 100.0).fold(0.0, f64::max);
    let row = |what: &str, unit, values| Row::new(format!("{members} members ready{what}"), unit, values);
    let first = row("", "ms", ours)?.beside(PLAIN, plain)?;
    let slowest = row(", slowest round", "ms", vec![slowest])?.at_most(target_ms);
    let worst = row(", of plain's time, worst round", "%", vec![worst])?;
    Ok(match members {
        3 => vec![first.ratio_at_most(0.2), slowest, worst.at_most(20.0)],
        _ => vec![first, slowest, worst],
    })
}

/// Whole commands, as a user waits for them.
fn persistent(rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let etcd = machine::etcd(&NEW, setup.cx)?;
    let [mut fresh, mut restart, mut down] = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        wait::check_interrupted()?;
        let ours = BenchWorkspace::new(setup, Some(&etcd))?;
        fresh.push(ours.xtask(&["etcd-up", "--members", "3"])?.ms());
        down.push(ours.xtask(&["etcd-down"])?.ms());
        restart.push(ours.xtask(&["etcd-up"])?.ms());
        ours.xtask(&["etcd-down"])?;
    }
    Ok(vec![
        Row::new("`etcd-up --members 3`, first", "ms", fresh)?.at_most(600.0),
        Row::new("`etcd-up` of 3 members on their data", "ms", restart)?.at_most(600.0),
        Row::new("`etcd-down` of 3 members", "ms", down)?.at_most(300.0),
    ])
}

fn cluster(members: usize, setup: &Setup<'_>) -> Result<Ephemeral> {
    let builder = setup.cx.builder()?.etcd(Wanted::Exactly(NEW));
    Ok(builder.members(members)?.start_ephemeral()?)
}

fn leader_lost(cluster: &Ephemeral, rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let etcd = machine::etcd(&NEW, setup.cx)?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let leader = cluster.leader()?;
        let others = cluster.members().iter().filter(|member| member.id() != leader.id());
        let others = others.map(|member| member.endpoint()).collect();
        let began = Instant::now();
        leader.kill()?;
        ours.push(next_write(began, others)?);
        cluster.restart(leader)?;

        let other = PlainEtcd::new(setup, &etcd)?;
        let mut servers = other.start_members(3)?;
        let leads = |server: &PlainServer| workspace::leads(&server.url).unwrap_or(false);
        let index = servers.iter().position(leads).context("no member leads")?;
        let mut leader = servers.remove(index);
        let others = servers.iter().map(|server| server.url.clone()).collect();
        let began = Instant::now();
        leader.kill()?;
        plain.push(next_write(began, others)?);
        servers.iter_mut().try_for_each(PlainServer::kill)?;
    }
    let slowest = ours.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Row::new("leader killed to the next write", "ms", ours)?.beside(PLAIN, plain)?,
        Row::new("leader killed to the next write, slowest round", "ms", vec![slowest])?.at_most(500.0),
    ])
}

/// Milliseconds until a write succeeds. A write to a member that does not know yet that the leader is lost takes seconds,
/// so that the next is sent soon, to the members in turn.
fn next_write(began: Instant, endpoints: Vec<String>) -> Result<f64> {
    const NEXT: Duration = Duration::from_millis(10);
    let (written, write) = channel();
    for endpoint in endpoints.into_iter().cycle() {
        let written = written.clone();
        std::thread::spawn(move || {
            if workspace::put(&endpoint, "/failover", "x").is_ok() {
                let _ = written.send(began.elapsed());
            }
        });
        if let Ok(took) = write.recv_timeout(NEXT) {
            return Ok(took.as_secs_f64() * 1e3);
        }
        wait::check_interrupted()?;
        ensure!(began.elapsed() < wait::TIMEOUT, "no write succeeds after the leader was killed");
    }
    bail!("there is no member to write to")
}
