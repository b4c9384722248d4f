//! Sweeping what others left, on the way: only runs that are dead for certain, and none that was kept on
//! purpose. What fails is left to the next one who comes by.

use std::path::Path;

use etcd_keys::Error;
use tokio::task::JoinSet;

use crate::runs::liveness::{DeathProof, Liveness};
use crate::runs::lock;
use crate::runs::record::State;
use crate::runs::registry::{Entry, Registry};
use crate::runs::sweep::Swept;

/// So many locks of dead runs elsewhere are kept, the newest ones. Without its lock a run takes watching, no more.
const ELSEWHERE: usize = 100;

/// Sweeps what processes of this machine left that had their locks in this directory. Costs nothing where there
/// are none. Tells how many keys went.
pub(crate) async fn left_here(registry: &Registry, lock_dir: &Path) -> u64 {
    let (endpoint, test_root) = (registry.connection().endpoint(), registry.roots().test_root());
    let (mut elsewhere, mut keys) = (0, 0);
    for (id, whose, lock) in lock::free_in(lock_dir) {
        if (whose.endpoints.as_str(), whose.test_root.as_str()) != (endpoint, test_root) {
            elsewhere += 1;
            if elsewhere > ELSEWHERE {
                lock.remove();
            }
            continue;
        }
        match registry.entry(&id).await {
            Ok(Some(run)) if run.alive || is_kept(&run) || !run.found.record().is_some_and(|run| lock.is_of(run)) => {}
            Ok(Some(run)) => keys += registry.sweep(&run, DeathProof(Some(lock))).await.map_or(0, gone),
            Ok(None) => lock.remove(),
            Err(_) => break,
        }
    }
    keys
}

impl Registry {
    /// Sweeps every run that is dead for certain, all at the same time where that takes watching: up to twenty times
    /// to live. Runs that were kept stay. Locks of this machine's runs are in `lock_dir`. Tells how many keys went.
    ///
    /// # Errors
    /// Whatever reads and writes may end in; what was not swept is there for the next one.
    pub async fn sweep_dead(&self, lock_dir: &Path) -> Result<u64, Error> {
        let mut keys = left_here(self, lock_dir).await;
        let mut watched = JoinSet::new();
        for run in self.list().await?.runs.into_iter().filter(|run| !is_kept(run)) {
            match self.liveness(&run) {
                Liveness::Dead(proof) => keys += gone(self.sweep(&run, proof).await?),
                Liveness::Unproven(_) => {
                    let registry = self.clone();
                    watched.spawn(async move {
                        match registry.prove_dead(&run).await? {
                            Some(proof) => registry.sweep(&run, proof).await.map(gone),
                            None => Ok(0),
                        }
                    });
                }
                Liveness::Alive(_) | Liveness::Unknown => {}
            }
        }
        while let Some(swept) = watched.join_next().await {
            keys += swept.unwrap_or(Ok(0))?;
        }
        Ok(keys)
    }
}

fn is_kept(run: &Entry) -> bool {
    run.found.record().is_some_and(|record| record.state == State::Kept)
}

fn gone(swept: Swept) -> u64 {
    match swept {
        Swept::Gone(keys) | Swept::NotOurs(keys) => keys,
    }
}
