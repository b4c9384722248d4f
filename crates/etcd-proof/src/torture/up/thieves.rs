//! Somebody takes the client port or the peer port between its choice and etcd's bind, before the start or during it.
//! Whoever has the port is never taken for our server.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_local::State;

use super::record;
use super::thief::{Manner, Plan, Thief};
use crate::torture::{Played, Round};

#[derive(Clone, Copy)]
enum Which {
    Client,
    Peer,
}

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let workspace = round.workspace("w")?;
    let which = round.dice.pick([Which::Client, Which::Peer]);
    let host = round.dice.pick([Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]);
    let manner = round.dice.pick([Manner::Silent, Manner::Etcd, Manner::Babble]);
    let not_before = if round.dice.once_in(3) { Duration::ZERO } else { round.dice.moment(25) };
    let choose = move |(client, peer): (u16, u16)| match which {
        Which::Client => client,
        Which::Peer => peer,
    };
    // Ports that are given, or the record, as soon as it names those that were chosen.
    let given = if round.dice.once_in(2) { Some(free_ports()?) } else { None };
    let instance = workspace.instance();
    let plan = Plan { host, manner, not_before };
    let thief = Thief::start(plan, move || given.or_else(|| record::ports(&instance)).map(choose));

    let ports = given.map(|(client, peer)| [client.to_string(), peer.to_string()]);
    let mut args = vec!["etcd-up"];
    if let Some([client, peer]) = &ports {
        args.extend(["--port", client, "--peer-port", peer]);
    }
    let call = workspace.call(&args)?.ends_with(&[0, 1])?;
    let (taken, status) = (thief.taken(), workspace.status()?);
    round.tally.add(if taken.is_some() { "thefts" } else { "thieves who came too late" }, 1);
    if call.status.success() {
        ensure!(status.state == State::Ready, "`etcd-up` succeeded, and it is {:?}", status.state);
        let (client, peer) = record::ports(&workspace.instance()).unwrap_or_default();
        ensure!(
            taken.is_none_or(|taken| taken != client && taken != peer),
            "the thief has port {taken:?}, and it is ready"
        );
        record::put(&status, "dg==")?;
        ensure!(workspace.servers() == status.pids, "it says {:?}, there are {:?}", status.pids, workspace.servers());
    } else {
        if taken.is_none() && given.is_some() && call.stderr.contains("is taken by") {
            // Whoever else is at work on this machine was quicker than our thief.
            round.tally.add("ports taken by strangers", 1);
            return Ok(Played::Through);
        }
        ensure!(taken.is_some(), "`etcd-up` failed, and nobody had the port: {}", call.stderr);
        ensure!(given.is_some(), "`etcd-up` failed though it may choose another port: {}", call.stderr);
        ensure!(call.stderr.contains("is taken by") && call.stderr.contains("hint: "), "it says: {}", call.stderr);
        ensure!(status.state == State::Stopped && workspace.servers().is_empty(), "it failed, and left {status:?}");
        round.tally.add("refusals", 1);
    }
    drop(thief);
    workspace.up_with(args.get(1..).unwrap_or_default())?;
    workspace.down()?;
    Ok(Played::Through)
}

fn free_ports() -> Result<(u16, u16)> {
    let (client, peer) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((client.local_addr()?.port(), peer.local_addr()?.port()))
}
