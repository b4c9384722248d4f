//! Sweeping what other processes left: only runs that are dead for certain, and no run that was kept on purpose. If a
//! sweep fails, the next process tries again.

use std::path::Path;

use etcd_keys::{Error, ErrorKind};
use tokio::task::JoinSet;

use crate::runs::liveness::{DeathProof, Liveness};
use crate::runs::lock;
use crate::runs::record::State;
use crate::runs::registry::{Entry, Registry};
use crate::runs::sweep::Swept;

/// How many locks of dead runs on other etcds are kept, the newest first. Without its lock a run can only be watched.
const ELSEWHERE: usize = 100;

/// Sweeps the dead runs of this machine whose locks are in this directory. If there are none, etcd is not asked.
/// Returns how many keys were deleted.
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
    /// Sweeps every run that is dead for certain. Runs that must be watched are watched at the same time, for up to
    /// twenty times to live. Runs that were kept stay. Locks of this machine's runs are in `lock_dir`. Returns how many
    /// keys were deleted.
    ///
    /// # Errors
    /// Those of reads and writes. What was not swept is left for the next sweep.
    pub async fn sweep_dead(&self, lock_dir: &Path) -> Result<u64, Error> {
        let mut keys = left_here(self, lock_dir).await;
        let mut watched = JoinSet::new();
        let (kept, runs): (Vec<_>, Vec<_>) = self.list().await?.runs.into_iter().partition(is_kept);
        // Of a run that was killed just when it was kept.
        for run in kept.iter().filter(|run| run.fenced) {
            unless_denied(self.delete_fence_of_kept(&run.id).await)?;
        }
        for run in runs {
            match self.liveness(&run) {
                Liveness::Dead(proof) => keys += unless_denied(self.sweep(&run, proof).await.map(gone))?,
                Liveness::Unproven(_) => {
                    let registry = self.clone();
                    watched.spawn(async move {
                        match registry.prove_dead(&run).await? {
                            Some(proof) => unless_denied(registry.sweep(&run, proof).await.map(gone)),
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

/// A fenced run is swept by those who may delete its user. Others go on with the other runs.
fn unless_denied<T: Default>(done: Result<T, Error>) -> Result<T, Error> {
    match done {
        Err(Error { kind: ErrorKind::Denied(_), .. }) => Ok(T::default()),
        done => done,
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
