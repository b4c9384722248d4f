//! `torture cluster`: a cluster whose members are killed, stopped, paused and cut off, are replaced, and hand over the
//! leadership, while one client writes, reads and watches by all of their endpoints. etcd's own history is the judge.

mod history;

use anyhow::{Context as _, Result};
use etcd_keys::Connection;
use rustix::process::Signal;
use testkit::Members;

use self::history::Client;
use super::rng::Rng;
use super::testbed::Round;
use super::{Outcome, Part};
use crate::{processes, wait};

pub(super) const PARTS: &[Part] =
    &[Part { name: "faults", rounds: 60, none: "writes lost, stale reads, events lost or repeated", run: faults }];

/// Faults in one round: 60 rounds have 300.
const FAULTS: u64 = 5;
const MEMBERS: usize = 3;
/// Between two faults, and until a member that was ended is started again, in milliseconds, at most.
const PAUSE: u64 = 400;
/// How long a member is silent or cut off, in milliseconds, at most. Longer than a client stays with such a member.
const ABSENCE: u64 = 4_000;

fn faults(round: &mut Round<'_>) -> Result<Outcome> {
    let mut cluster = Members::start(&round.programs().etcd, &round.dir, MEMBERS)?;
    let connection = round.runtime().block_on(history::connect(cluster.endpoints()))?;
    let (mut client, rng) = (Client::start(round.runtime(), &connection), round.rng.fork());
    let injected = inject(&mut cluster, &connection, rng, round);
    // Also after a failure: no task may outlive the round.
    let written = round.runtime().block_on(client.stop());
    injected?;
    let written = written?;
    round.tally.add("acknowledged writes", written.acknowledged.len() as u64);
    round.tally.add("writes in doubt", written.doubtful.len() as u64);
    round.tally.add("reads", written.reads);
    round.runtime().block_on(client.check(&written, cluster.endpoints()))?;
    Ok(Outcome::Completed)
}

fn inject(cluster: &mut Members, connection: &Connection, mut rng: Rng, round: &mut Round<'_>) -> Result<()> {
    for _ in 0..FAULTS {
        wait::pause(rng.delay(PAUSE));
        wait::check_interrupted()?;
        let index = rng.index(0..MEMBERS);
        let fault = match rng.number(0..7) {
            0 => {
                cluster.kill(index)?;
                wait::pause(rng.delay(PAUSE));
                cluster.restart(index)?;
                "kills"
            }
            1 => {
                cluster.stop(index)?;
                wait::pause(rng.delay(PAUSE));
                cluster.restart(index)?;
                "stops"
            }
            2 => {
                let pid = cluster.all().get(index).and_then(testkit::members::Member::pid).context("it runs")?;
                processes::signal(pid, &round.dir, Signal::STOP)?;
                wait::pause(rng.delay(ABSENCE));
                processes::signal(pid, &round.dir, Signal::CONT)?;
                "pauses"
            }
            3 => {
                cluster.cut_off(index)?;
                wait::pause(rng.delay(ABSENCE));
                cluster.reconnect(index)?;
                "members cut off"
            }
            4 => {
                replace(cluster, index, false, connection, round)?;
                "members replaced"
            }
            5 => {
                replace(cluster, index, true, connection, round)?;
                "members replaced by a learner"
            }
            _ => {
                // The leader may change by itself meanwhile.
                drop(cluster.move_leadership(index));
                "moves of the leadership"
            }
        };
        round.tally.add(fault, 1);
    }
    Ok(())
}

/// A new member comes into the cluster, and one goes. The client is told each time.
fn replace(
    cluster: &mut Members,
    index: usize,
    by_learner: bool,
    connection: &Connection,
    round: &Round<'_>,
) -> Result<()> {
    let url = |cluster: &Members, index: usize| {
        Ok::<_, anyhow::Error>(cluster.all().get(index).context("a member")?.url.clone())
    };
    let change = |added: Option<&str>, removed: Option<&str>| {
        round.runtime().block_on(connection.change_endpoints(added, removed))
    };
    cluster.add(by_learner)?;
    // A learner is in the list before it can serve.
    change(Some(&url(cluster, MEMBERS)?), None)?;
    if by_learner {
        cluster.promote(MEMBERS)?;
    }
    let gone = url(cluster, index)?;
    cluster.remove(index)?;
    Ok(change(None, Some(&gone))?)
}
