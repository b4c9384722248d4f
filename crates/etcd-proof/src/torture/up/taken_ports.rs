//! Another program takes the client port or the peer port before the start, or between its choice and etcd's bind. That
//! program is never taken for our server.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_local::State;

use super::port_taker::{Behavior, PortPlan, PortTaker};
use super::record;
use crate::torture::{Outcome, Round};
use crate::workspace::free_ports;

#[derive(Clone, Copy)]
enum PortKind {
    Client,
    Peer,
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    let which = round.rng.choose([PortKind::Client, PortKind::Peer]);
    let host = round.rng.choose([Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]);
    let behavior = round.rng.choose([Behavior::Silent, Behavior::ForeignEtcd, Behavior::Garbage]);
    let not_before = if round.rng.one_in(3) { Duration::ZERO } else { round.rng.delay(25) };
    let choose = move |(client, peer): (u16, u16)| match which {
        PortKind::Client => client,
        PortKind::Peer => peer,
    };
    // The ports of the command line, or those of the record, as soon as there is one.
    let given = if round.rng.one_in(2) { Some(free_ports()?) } else { None };
    let instance = workspace.instance();
    let plan = PortPlan { host, behavior, not_before };
    let taker = PortTaker::start(plan, move || given.or_else(|| record::ports(&instance)).map(choose));

    let ports = given.map(|(client, peer)| [client.to_string(), peer.to_string()]);
    let mut args = vec!["etcd-up"];
    if let Some([client, peer]) = &ports {
        args.extend(["--port", client, "--peer-port", peer]);
    }
    let call = workspace.call(&args)?.ends_with(&[0, 1])?;
    let (taken, status) = (taker.taken(), workspace.status()?);
    round.tally.add(if taken.is_some() { "ports taken" } else { "attempts that came too late" }, 1);
    if call.status.success() {
        ensure!(status.state == State::Ready, "`etcd-up` succeeded, and it is {:?}", status.state);
        let (client, peer) = record::ports(&workspace.instance()).unwrap_or_default();
        ensure!(
            taken.is_none_or(|taken| taken != client && taken != peer),
            "another program has port {taken:?}, and it is ready"
        );
        record::put(&status, "v")?;
        ensure!(
            workspace.servers() == status.pids,
            "`etcd-up` says {:?}, there are {:?}",
            status.pids,
            workspace.servers()
        );
    } else {
        if taken.is_none() && given.is_some() && call.stderr.contains("is taken by") {
            // Another program on this machine was quicker.
            round.tally.add("ports taken by other programs", 1);
            return Ok(Outcome::Completed);
        }
        ensure!(taken.is_some(), "`etcd-up` failed, and no program had the port: {}", call.stderr);
        ensure!(given.is_some(), "`etcd-up` failed though it may choose another port: {}", call.stderr);
        ensure!(call.stderr.contains("is taken by") && call.stderr.contains("hint: "), "the error is: {}", call.stderr);
        ensure!(status.state == State::Stopped && workspace.servers().is_empty(), "it failed, and left {status:?}");
        round.tally.add("refusals", 1);
    }
    drop(taker);
    // Not on these ports: another program on this machine may have taken them since.
    workspace.up_with(&["--port", "auto", "--peer-port", "auto"])?;
    workspace.down()?;
    Ok(Outcome::Completed)
}
