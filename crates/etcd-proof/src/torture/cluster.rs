//! `torture cluster`: a cluster of three members that are killed, paused and stopped, and whose leadership moves, while one
//! client writes, reads and watches by all of their endpoints. etcd's own history is the judge.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{Connect, Connection, ErrorKind, KeyRange};
use etcd_local::{Ephemeral, Member};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::rng::Rng;
use super::testbed::Round;
use super::{Outcome, Part};
use crate::{processes, wait};

pub(super) const PARTS: &[Part] =
    &[Part { name: "faults", rounds: 60, none: "writes lost, stale reads, events lost or repeated", run: faults }];

/// Faults in one round: 60 rounds have 300.
const FAULTS: u64 = 5;
const PREFIX: &str = "/Inventory/v1/cluster/";
/// Few keys, so that they change often.
const KEYS: u64 = 10;
/// Its value ends the round.
const END: &str = "/Inventory/v1/cluster/end";
/// Between two faults, in milliseconds, at most.
const PAUSE: u64 = 400;

fn key(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn faults(round: &mut Round<'_>) -> Result<Outcome> {
    let cluster = round.ephemeral_cluster(3)?;
    let (mut client, rng) = (Client::start(round, &cluster)?, round.rng.fork());
    let injected = inject(&cluster, rng, round);
    // Also after a failure: no task may outlive the round.
    let written = round.runtime().block_on(client.stop());
    injected?;
    let written = written?;
    let connection = round.runtime().block_on(connect(&cluster))?;
    round.runtime().block_on(connection.all_keys().put(END, ""))?;
    let watched = round.runtime().block_on(client.watched())?;
    let truth = round.runtime().block_on(history(&cluster))?;
    round.tally.add("acknowledged writes", written.acknowledged.len() as u64);
    round.tally.add("writes in doubt", written.doubtful.len() as u64);
    round.tally.add("reads", written.reads);
    check(&written, &watched, &truth)?;
    Ok(Outcome::Completed)
}

fn inject(cluster: &Ephemeral, mut rng: Rng, round: &mut Round<'_>) -> Result<()> {
    for _ in 0..FAULTS {
        wait::pause(rng.delay(PAUSE));
        wait::check_interrupted()?;
        let chosen = rng.index(0..cluster.members().len());
        let member = cluster.members().get(chosen).context("a member")?;
        match rng.number(0..4) {
            0 => {
                round.tally.add("kills", 1);
                member.kill()?;
                wait::pause(rng.delay(PAUSE));
                cluster.restart(member)?;
            }
            1 => {
                round.tally.add("stops", 1);
                member.stop()?;
                wait::pause(rng.delay(PAUSE));
                cluster.restart(member)?;
            }
            2 => {
                round.tally.add("pauses", 1);
                pause(member, rng.delay(4_000), round)?;
            }
            _ => {
                round.tally.add("moves of the leadership", 1);
                // The leader may change by itself meanwhile.
                drop(cluster.move_leadership(member));
            }
        }
    }
    Ok(())
}

/// The member is silent for so long, and goes on.
fn pause(member: &Member, time: Duration, round: &Round<'_>) -> Result<()> {
    processes::signal(member.pid(), &round.dir, Signal::STOP)?;
    wait::pause(time);
    Ok(processes::signal(member.pid(), &round.dir, Signal::CONT)?)
}

async fn connect(cluster: &Ephemeral) -> Result<Connection> {
    let connect = Connect::new(cluster.endpoints()).keep_alive(Duration::from_millis(5_200), Duration::from_secs(1));
    Ok(connect.request_timeout(Duration::from_secs(2)).connect_timeout(wait::TIMEOUT).connect().await?)
}

/// What happened: by revision and key, the value; `None`: it was deleted.
type Changes = BTreeMap<(i64, String), Option<String>>;

/// What one client did and was told.
#[derive(Default)]
struct Written {
    acknowledged: Changes,
    /// Values whose write failed: it may have been done, once.
    doubtful: Vec<String>,
    reads: u64,
}

struct Client {
    ends: Arc<AtomicBool>,
    writer: Option<JoinHandle<Result<Written>>>,
    watcher: Option<JoinHandle<Result<Changes>>>,
}

impl Client {
    fn start(round: &Round<'_>, cluster: &Ephemeral) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let connection = round.runtime().block_on(connect(cluster))?;
        let writer = round.runtime().spawn(write_and_read(connection.clone(), Arc::clone(&ends)));
        let watcher = round.runtime().spawn(watch(connection));
        Ok(Self { ends, writer: Some(writer), watcher: Some(watcher) })
    }

    async fn stop(&mut self) -> Result<Written> {
        self.ends.store(true, SeqCst);
        self.writer.take().context("the writer was stopped before")?.await?
    }

    async fn watched(&mut self) -> Result<Changes> {
        let watcher = self.watcher.take().context("the watch was ended before")?;
        tokio::time::timeout(wait::TIMEOUT, watcher).await.context("the watch did not come to the end")??
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        self.watcher.iter().for_each(JoinHandle::abort);
    }
}

/// Writes and deletes keys in turn. Before each write, reads the key: a read that began after a write was acknowledged shows
/// that write, or a later one.
async fn write_and_read(connection: Connection, ends: Arc<AtomicBool>) -> Result<Written> {
    let (keys, mut written, mut last) = (connection.all_keys(), Written::default(), HashMap::new());
    for number in 0_u64.. {
        if ends.load(SeqCst) {
            break;
        }
        let (name, value) = (key(number % KEYS), number.to_string());
        if let Ok(found) = keys.get(name.as_str()).await {
            written.reads += 1;
            let (found, known) = (found.map_or(i64::MAX, |kv| kv.mod_revision), last.get(&name).copied());
            ensure!(known.is_none_or(|known| known <= found), "a stale read of `{name}`: {found} after {known:?}");
        }
        let deletes = number % 7 == 6;
        let done = if deletes {
            keys.delete(name.as_str()).await.map(|done| (done.deleted > 0).then_some((done.revision, None)))
        } else {
            keys.put(name.as_str(), value.as_str()).await.map(|done| Some((done.revision, Some(value.clone()))))
        };
        match done {
            Ok(Some((revision, value))) => {
                last.insert(name.clone(), if value.is_some() { revision } else { 0 });
                written.acknowledged.insert((revision, name), value);
            }
            Ok(None) => {}
            Err(error) => {
                let expected = error.kind.is_transient() || matches!(error.kind, ErrorKind::Etcd { .. });
                ensure!(expected, "an unexpected error: {error}");
                // It may be done at any time from now on.
                last.remove(&name);
                written.doubtful.extend((!deletes).then_some(value));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(written)
}

async fn watch(connection: Connection) -> Result<Changes> {
    let mut watch = connection.all_keys().watch(KeyRange::prefix(PREFIX)).from_revision(1);
    let (mut changes, mut last) = (Changes::new(), 0);
    loop {
        match watch.recv().await {
            Ok(Notice::Event(event)) if event.kv.key == END.as_bytes() => return Ok(changes),
            Ok(Notice::Event(event)) => {
                let (revision, name) = (event.kv.mod_revision, event.kv.key_str()?.to_owned());
                ensure!(last <= revision, "revision {revision} came after {last}");
                last = revision;
                let value = if event.kind == EventKind::Put { Some(event.kv.value_str()?.to_owned()) } else { None };
                ensure!(
                    changes.insert((revision, name), value).is_none(),
                    "an event of revision {revision} came twice"
                );
            }
            Ok(Notice::Listed { .. }) => {}
            Ok(other) => bail!("the watch reports {other:?}"),
            Err(error) => ensure!(error.kind.is_transient(), "the watch ends: {error}"),
        }
    }
}

/// All changes, as one member knows them when all is quiet.
async fn history(cluster: &Ephemeral) -> Result<Changes> {
    let leader = cluster.leader()?.endpoint();
    tokio::time::timeout(wait::TIMEOUT, watch(Connect::new([leader]).connect().await?)).await?
}

fn check(written: &Written, watched: &Changes, truth: &Changes) -> Result<()> {
    for (change, value) in &written.acknowledged {
        ensure!(truth.get(change) == Some(value), "the acknowledged write {change:?} of {value:?} is lost");
    }
    for value in &written.doubtful {
        let times = truth.values().filter(|done| done.as_ref() == Some(value)).count();
        ensure!(times <= 1, "the write of {value}, which failed, was done {times} times");
    }
    let missing = truth.keys().find(|change| watched.get(*change) != truth.get(*change));
    ensure!(missing.is_none(), "the watch did not report {missing:?}");
    let invented = watched.keys().find(|change| !truth.contains_key(*change));
    ensure!(invented.is_none(), "the watch reported {invented:?}, which did not happen");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_is_found() {
        let change = |revision: i64, value: &str| ((revision, key(1)), Some(value.to_owned()));
        let truth = Changes::from([change(2, "a"), change(3, "b"), change(5, "b")]);
        let written = |acknowledged: &[_], doubtful: &str| Written {
            acknowledged: acknowledged.iter().cloned().collect(),
            doubtful: vec![doubtful.to_owned()],
            reads: 0,
        };
        check(&written(&[change(2, "a")], "c"), &truth, &truth).unwrap();
        check(&written(&[change(2, "a")], "a"), &truth, &truth).unwrap();
        let found = |written: &Written, watched: &Changes| check(written, watched, &truth).unwrap_err().to_string();
        assert!(found(&written(&[change(4, "d")], ""), &truth).contains("is lost"));
        assert!(found(&written(&[], "b"), &truth).contains("2 times"));
        let watched = Changes::from([change(2, "a"), change(5, "b")]);
        assert!(found(&written(&[], ""), &watched).contains("did not report"));
        let watched = truth.clone().into_iter().chain([change(4, "d")]).collect();
        assert!(found(&written(&[], ""), &watched).contains("did not happen"));
    }
}
