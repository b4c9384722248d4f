//! What one client of a cluster did and was told, and what the cluster says of it in the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use etcd_keys::watch::{EventKind, Notice};
use etcd_keys::{Connect, Connection, ErrorKind, KeyRange};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::wait;

const PREFIX: &str = "/Inventory/v1/cluster/";
/// Few keys, so that they change often.
const KEYS: u64 = 10;
/// Its value ends the round.
const END: &str = "/Inventory/v1/cluster/end";

fn key(number: u64) -> String {
    format!("{PREFIX}{number}")
}

pub(super) async fn connect(endpoints: Vec<String>) -> Result<Connection> {
    let connect = Connect::new(endpoints).keep_alive(Duration::from_millis(5_200), Duration::from_secs(1));
    Ok(connect.request_timeout(Duration::from_secs(2)).connect_timeout(wait::TIMEOUT).connect().await?)
}

/// What happened: by revision and key, the value; `None`: it was deleted.
type Changes = BTreeMap<(i64, String), Option<String>>;

/// What one client did and was told.
#[derive(Default)]
pub(super) struct Written {
    pub(super) acknowledged: Changes,
    /// Values whose write failed: it may have been done, once.
    pub(super) doubtful: Vec<String>,
    pub(super) reads: u64,
}

pub(super) struct Client {
    connection: Connection,
    ends: Arc<AtomicBool>,
    writer: Option<JoinHandle<Result<Written>>>,
    watcher: Option<JoinHandle<Result<Changes>>>,
}

impl Client {
    pub(super) fn start(runtime: &Runtime, connection: &Connection) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let writer = runtime.spawn(write_and_read(connection.clone(), Arc::clone(&ends)));
        let watcher = runtime.spawn(watch(connection.clone()));
        Self { connection: connection.clone(), ends, writer: Some(writer), watcher: Some(watcher) }
    }

    pub(super) async fn stop(&mut self) -> Result<Written> {
        self.ends.store(true, SeqCst);
        self.writer.take().context("the writer was stopped before")?.await?
    }

    /// Compares what was written and watched with what each member says.
    pub(super) async fn check(&mut self, written: &Written, members: Vec<String>) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.connection.all_keys().put(END, "").await {
            ensure!(error.kind.is_transient() && began.elapsed() < wait::TIMEOUT, "the end cannot be written: {error}");
        }
        let watched = self.watched().await?;
        for member in members {
            check(written, &watched, &history(&member).await?).with_context(|| format!("by the member at {member}"))?;
        }
        Ok(())
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
async fn history(member: &str) -> Result<Changes> {
    tokio::time::timeout(wait::TIMEOUT, watch(Connect::new([member]).connect().await?)).await?
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
