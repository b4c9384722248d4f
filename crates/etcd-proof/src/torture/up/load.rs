//! A persistent server is killed with kill -9 repeatedly while clients write: every acknowledged write is there
//! afterwards, with its value and its revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use etcd_keys::KeyRange;
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::record;
use crate::torture::keyspace::{self, Contents};
use crate::torture::{Outcome, Round};
use crate::wait;

const KILLS: usize = 10;
const CLIENTS: usize = 8;

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    let mut acknowledged = Contents::new();
    let mut endpoint = record::endpoint(&workspace.up()?)?.to_owned();
    for kill in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = Clients::start(round, &endpoint, kill, &stop)?;
        wait::pause(round.rng.delay(60));
        workspace.signal_server(Signal::KILL)?;
        stop.store(true, Ordering::SeqCst);
        let written = round.runtime().block_on(clients.finish())?;
        round.tally.add("acknowledged writes", written.len() as u64);
        round.tally.add("kills", 1);
        acknowledged.extend(written);
        endpoint = record::endpoint(&workspace.up()?)?.to_owned();
        let found = round.runtime().block_on(contents(&endpoint))?;
        for (key, (value, revision)) in &acknowledged {
            let key = String::from_utf8_lossy(key);
            let is = found.get(key.as_bytes()).with_context(|| format!("`{key}` of revision {revision} is lost"))?;
            ensure!(is == &(value.clone(), *revision), "`{key}` of revision {revision} is now of {}", is.1);
        }
    }
    workspace.down()?;
    Ok(Outcome::Completed)
}

async fn contents(endpoint: &str) -> Result<Contents> {
    keyspace::contents(&keyspace::connect(endpoint).await?, KeyRange::prefix("load/")).await
}

/// Clients that write until their first error, or until they are told to stop.
struct Clients(JoinSet<Contents>);

impl Clients {
    fn start(round: &Round<'_>, endpoint: &str, kill: usize, stop: &Arc<AtomicBool>) -> Result<Self> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let connection = round.runtime().block_on(keyspace::connect(endpoint))?;
            let stop = Arc::clone(stop);
            let write = async move {
                let (keys, mut acknowledged) = (connection.all_keys(), Contents::new());
                for number in 0.. {
                    let key = format!("load/{kill}/{client}/{number}");
                    match keys.put(key.as_str(), key.as_str()).await {
                        Ok(put) => drop(acknowledged.insert(key.clone().into(), (key.into(), put.revision))),
                        Err(_) => break,
                    }
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
                acknowledged
            };
            clients.spawn_on(write, round.runtime().handle());
        }
        Ok(Self(clients))
    }

    async fn finish(mut self) -> Result<Contents> {
        let mut all = Contents::new();
        while let Some(written) = self.0.join_next().await {
            all.extend(written?);
        }
        Ok(all)
    }
}
