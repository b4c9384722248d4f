//! A watch, a writer, and faults between them: connections that are cut, also within an answer; a server that is killed,
//! compacted while nobody could look, or wiped. In the end the watch has told of everything, or said what it cannot know.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use etcd_keys::{Connection, KeyRange};
use etcd_local::Status;
use rustix::process::Signal;

use super::follower::Follower;
use super::history::{self, History, PREFIX};
use super::proxy::Proxy;
use crate::torture::calls::Pending;
use crate::torture::keyspace;
use crate::torture::workspace::Workspace;
use crate::torture::{Played, Round};
use crate::wait;

const FAULTS: usize = 10;
/// Keys that mark the beginning and the end; the writer's have smaller numbers.
const BEGIN: u64 = 1_000;
const END: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    CutWithinAnswer,
    Away,
    CompactedWhileAway,
    Killed,
    Reset,
}

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let workspace = round.workspace("w")?;
    let mut server = Server::of(&workspace.up()?, round)?;
    let first = server.cluster.clone();
    let proxy = Proxy::start(&server.endpoint)?;
    let mut history = History::default();
    let args = ["watch", PREFIX, "--prefix", "--format", "json"];
    let mut watch = workspace.start(workspace.console(&proxy.endpoint(), &args))?;
    let began = begun(&mut watch, &server, round)?;
    for _ in 0..FAULTS {
        write(&mut history, &server, round)?;
        let fault = round.dice.pick([
            Fault::Cut,
            Fault::CutWithinAnswer,
            Fault::Away,
            Fault::CompactedWhileAway,
            Fault::Killed,
            Fault::Reset,
        ]);
        strike(fault, &mut server, &proxy, &mut history, &workspace, round)?;
        round.tally.add("faults", 1);
        // Sometimes the next one comes before the watch has recovered.
        wait::pause(round.dice.moment(300));
        ensure!(!watch.is_over()?, "the watch ended after {fault:?}: {}", watch.finish()?.stderr);
    }
    write(&mut history, &server, round)?;
    let connection = &server.connection;
    round.runtime().block_on(connection.all_keys().put(history::key(END), ""))?;
    let said = watch.said();
    wait::until("the watch tells of the last key", wait::PATIENCE, || {
        let text = fs::read_to_string(&said)?;
        Ok(Follower::of(&text, &first)?.knows(END))
    })?;
    let follower = Follower::of(&fs::read_to_string(&said)?, &first)?;
    follower.missed_nothing(&history, began, &first)?;
    ensure!(follower.cluster == server.cluster, "it was never told that the data is another cluster's");
    let mut there = round.runtime().block_on(contents(connection))?;
    // It was there before the watch was.
    if !follower.knows(BEGIN) {
        there.remove(&BEGIN);
    }
    follower.agrees_with(&there)?;
    watch.kill()?;
    workspace.down()?;
    let changes = history.clusters.values().map(BTreeMap::len).sum::<usize>();
    for (what, count) in [("changes", changes as u64), ("gaps told", follower.gaps), ("resets told", follower.resets)] {
        round.tally.add(what, count);
    }
    Ok(Played::Through)
}

/// A server as it is now: another after each restart.
struct Server {
    endpoint: String,
    cluster: String,
    connection: Connection,
}

impl Server {
    fn of(status: &Status, round: &Round<'_>) -> Result<Self> {
        let endpoint = status.endpoints.first().cloned().context("a server without endpoint")?;
        let cluster = status.cluster_id.context("a server without cluster id")?.to_string();
        let connection = round.runtime().block_on(keyspace::connect(&endpoint))?;
        Ok(Self { endpoint, cluster, connection })
    }
}

/// Writes until the watch shows something: from then on it misses nothing. Tells the revision of what it showed.
fn begun(watch: &mut Pending, server: &Server, round: &Round<'_>) -> Result<i64> {
    let keys = server.connection.all_keys();
    let said = watch.said();
    let mut last = 0;
    wait::until("the watch begins", wait::PATIENCE, || {
        last = round.runtime().block_on(keys.put(history::key(BEGIN), ""))?.revision;
        Ok(!fs::read(&said)?.is_empty())
    })?;
    Ok(last)
}

fn write(history: &mut History, server: &Server, round: &mut Round<'_>) -> Result<()> {
    let count = round.dice.number(0..60);
    let runtime = round.runtime();
    runtime.block_on(history.write(&server.cluster, &server.connection, count, &mut round.dice))
}

fn strike(
    fault: Fault,
    server: &mut Server,
    proxy: &Proxy,
    history: &mut History,
    workspace: &Workspace<'_>,
    round: &mut Round<'_>,
) -> Result<()> {
    match fault {
        Fault::Cut => proxy.cut(),
        Fault::CutWithinAnswer => {
            proxy.cut_after(round.dice.index(1..5_000));
            write(history, server, round)?;
        }
        Fault::Away | Fault::CompactedWhileAway => {
            proxy.close();
            write(history, server, round)?;
            if fault == Fault::CompactedWhileAway {
                let at = round.runtime().block_on(compact(&server.connection))?;
                history.compacted.entry(server.cluster.clone()).or_default().push(at);
                write(history, server, round)?;
            }
            proxy.open();
        }
        Fault::Killed => {
            let runtime = round.runtime();
            let mut dice = round.dice.fork();
            let writes = history.write(&server.cluster, &server.connection, 500, &mut dice);
            let (killed, written) = runtime.block_on(async {
                let kill = async {
                    tokio::time::sleep(round.dice.moment(30)).await;
                    workspace.signal_server(Signal::KILL)
                };
                tokio::join!(kill, writes)
            });
            killed.and(written)?;
            *server = Server::of(&workspace.up()?, round)?;
            proxy.lead_to(&server.endpoint);
        }
        Fault::Reset => {
            round.tally.add("resets", 1);
            workspace.call(&["etcd-reset", "--yes"])?.ok()?;
            *server = Server::of(&workspace.up()?, round)?;
            proxy.lead_to(&server.endpoint);
        }
    }
    Ok(())
}

/// Tells the revision up to which all is gone.
async fn compact(connection: &Connection) -> Result<i64> {
    let revision = connection.all_keys().put("/compacted", "").await?.revision;
    connection.kv().compact(revision, None).await.context("cannot compact")?;
    Ok(revision)
}

async fn contents(connection: &Connection) -> Result<BTreeMap<u64, String>> {
    let all = keyspace::contents(connection, KeyRange::prefix(PREFIX)).await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("a value of ours");
    let number = |key: Vec<u8>| -> Result<u64> { Ok(text(key)?.trim_start_matches(PREFIX).parse()?) };
    all.into_iter().map(|(key, (value, _))| Ok((number(key)?, text(value)?))).collect()
}
