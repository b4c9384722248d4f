//! A watch, a writer, and faults: connections that are cut, also within an answer; a server that is killed, wiped, or
//! compacted while the watch is disconnected. In the end the watch has reported every change, or the gap that hides it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use etcd_keys::{Connection, KeyRange};
use etcd_local::Status;
use rustix::process::Signal;
use testkit::Proxy;

use super::follower::Follower;
use super::history::{self, History, PREFIX};
use crate::torture::calls::RunningCall;
use crate::torture::keyspace;
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};
use crate::wait;

const FAULTS: usize = 10;
/// Keys that mark the beginning and the end; the writer's have smaller numbers.
const BEGIN: u64 = 1_000;
const END: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    CutWithinAnswer,
    Disconnected,
    CompactedWhileDisconnected,
    Killed,
    Reset,
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    let mut server = Server::of(&workspace.up()?, round)?;
    let first = server.cluster.clone();
    let proxy = Proxy::start(&server.endpoint)?;
    let mut history = History::default();
    let args = ["watch", PREFIX, "--prefix", "--format", "json"];
    let mut watch = workspace.start(workspace.console(&proxy.endpoint(), &args))?;
    let began = first_revision(&mut watch, &server, round)?;
    for _ in 0..FAULTS {
        write(&mut history, &server, round)?;
        let fault = round.rng.choose([
            Fault::Cut,
            Fault::CutWithinAnswer,
            Fault::Disconnected,
            Fault::CompactedWhileDisconnected,
            Fault::Killed,
            Fault::Reset,
        ]);
        inject(fault, &mut server, &proxy, &mut history, &workspace, round)?;
        round.tally.add("faults", 1);
        // Sometimes the next fault comes before the watch has recovered.
        wait::pause(round.rng.delay(300));
        ensure!(!watch.has_ended()?, "the watch ended after {fault:?}: {}", watch.finish()?.stderr);
    }
    write(&mut history, &server, round)?;
    let connection = &server.connection;
    round.runtime().block_on(connection.all_keys().put(history::key(END), ""))?;
    let stdout = watch.stdout_file();
    wait::until("the watch reports the last key", wait::TIMEOUT, || {
        let text = fs::read_to_string(&stdout)?;
        Ok(Follower::of(&text, &first)?.has_key(END))
    })?;
    let follower = Follower::of(&fs::read_to_string(&stdout)?, &first)?;
    follower.check_complete(&history, began, &first)?;
    ensure!(follower.cluster == server.cluster, "the watch did not report the last reset");
    let mut there = round.runtime().block_on(contents(connection))?;
    // Written before the watch began.
    if !follower.has_key(BEGIN) {
        there.remove(&BEGIN);
    }
    follower.check_state(&there)?;
    watch.kill()?;
    workspace.down()?;
    let changes = history.clusters.values().map(BTreeMap::len).sum::<usize>();
    for (what, count) in
        [("changes", changes as u64), ("gaps reported", follower.gaps), ("resets reported", follower.resets)]
    {
        round.tally.add(what, count);
    }
    Ok(Outcome::Completed)
}

/// The server: a new one after each restart.
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

/// Writes until the watch shows something: from then on it must report every change. Gives the revision of the last write.
fn first_revision(watch: &mut RunningCall, server: &Server, round: &Round<'_>) -> Result<i64> {
    let keys = server.connection.all_keys();
    let stdout = watch.stdout_file();
    let mut last = 0;
    wait::until("the watch begins", wait::TIMEOUT, || {
        last = round.runtime().block_on(keys.put(history::key(BEGIN), ""))?.revision;
        Ok(!fs::read(&stdout)?.is_empty())
    })?;
    Ok(last)
}

fn write(history: &mut History, server: &Server, round: &mut Round<'_>) -> Result<()> {
    let count = round.rng.number(0..60);
    let runtime = round.runtime();
    runtime.block_on(history.write(&server.cluster, &server.connection, count, &mut round.rng))
}

fn inject(
    fault: Fault,
    server: &mut Server,
    proxy: &Proxy,
    history: &mut History,
    workspace: &TortureWorkspace<'_>,
    round: &mut Round<'_>,
) -> Result<()> {
    match fault {
        Fault::Cut => proxy.cut(),
        Fault::CutWithinAnswer => {
            proxy.cut_after(round.rng.index(1..5_000));
            write(history, server, round)?;
        }
        Fault::Disconnected | Fault::CompactedWhileDisconnected => {
            proxy.close();
            write(history, server, round)?;
            if fault == Fault::CompactedWhileDisconnected {
                let at = round.runtime().block_on(compact(&server.connection))?;
                history.compacted.entry(server.cluster.clone()).or_default().push(at);
                write(history, server, round)?;
            }
            proxy.open();
        }
        Fault::Killed => {
            let runtime = round.runtime();
            let mut rng = round.rng.fork();
            let writes = history.write(&server.cluster, &server.connection, 500, &mut rng);
            let (killed, written) = runtime.block_on(async {
                let kill = async {
                    tokio::time::sleep(round.rng.delay(30)).await;
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

/// Gives the revision of the compaction.
async fn compact(connection: &Connection) -> Result<i64> {
    let revision = connection.all_keys().put("/compacted", "").await?.revision;
    connection.raw().compact(revision, None).await.context("cannot compact")?;
    Ok(revision)
}

async fn contents(connection: &Connection) -> Result<BTreeMap<u64, String>> {
    let all = keyspace::contents(connection, KeyRange::prefix(PREFIX)).await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("a value of ours");
    let number = |key: Vec<u8>| -> Result<u64> { Ok(text(key)?.trim_start_matches(PREFIX).parse()?) };
    all.into_iter().map(|(key, (value, _))| Ok((number(key)?, text(value)?))).collect()
}
