//! Deletes a run: claims it by compare-and-swap, deletes its keys in bounded chunks, and the record last. Each chunk
//! compares the claim again. No key outside the run's own prefix is deleted.

use etcd_keys::kv::{Compare, Delete, OpResponse, Put, Txn};
use etcd_keys::{Error, ErrorKind, KeyRange, Operation};

use crate::run_id::RunId;
use crate::runs::liveness::DeathProof;
use crate::runs::lock::{Alone, Tried};
use crate::runs::record::{Found, Record, State, TTL};
use crate::runs::registry::{Entry, Registry, Unregistered};

/// How many keys are deleted in one transaction with the record: no other client waits long for it.
const FEW: u64 = 500;

/// How often the keys are deleted that were written meanwhile. A test may write faster than its keys are deleted: the
/// last transaction deletes the rest.
const ROUNDS: u32 = 5;

/// The result of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Swept {
    /// The run is gone; this many keys were deleted.
    Gone(u64),
    /// The run came to life, or another process sweeps it. At least this many keys were deleted before.
    NotOurs(u64),
}

/// A run that this process may delete.
#[derive(Debug)]
pub(crate) struct Claim {
    registry: Registry,
    id: RunId,
    fenced: bool,
    /// The revision of the record with our claim.
    revision: i64,
}

/// When a run cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unless {
    /// If it has a heartbeat.
    Alive,
    /// It always can: the run is our own, or the user insists. Its keeper notices that the heartbeat is deleted.
    Never,
}

impl Registry {
    /// Sweeps a run that is proven dead.
    ///
    /// # Errors
    /// Those of reads and writes. The rest of the run stays, and the next sweep goes on.
    pub async fn sweep(&self, run: &Entry, proof: DeathProof) -> Result<Swept, Error> {
        let swept = self.claim_and_sweep(run, Unless::Alive).await?;
        if let (Swept::Gone(_), Some(lock)) = (swept, proof.0) {
            lock.remove();
        }
        Ok(swept)
    }

    /// Sweeps a run that may be alive. Its keeper notices, and its tests fail.
    ///
    /// # Errors
    /// As [`Registry::sweep`].
    pub async fn sweep_by_force(&self, run: &Entry) -> Result<Swept, Error> {
        let swept = self.claim_and_sweep(run, Unless::Never).await?;
        if let (Swept::Gone(_), Some(record)) = (swept, run.found.record())
            && let Tried::Free(lock) = Alone::attempt(&record.lock, &run.id)
        {
            lock.remove();
        }
        Ok(swept)
    }

    async fn claim_and_sweep(&self, run: &Entry, unless: Unless) -> Result<Swept, Error> {
        match self.claim(run, State::Sweeping, unless).await? {
            Some(claim) => claim.sweep().await,
            None => Ok(Swept::NotOurs(0)),
        }
    }

    /// Deletes keys that belong to no run, and returns their number. Keys that are written meanwhile stay.
    ///
    /// # Errors
    /// Those of reads and writes, and [`ErrorKind::Invalid`] for anything that is not test data.
    pub async fn delete_unregistered(&self, found: &Unregistered) -> Result<u64, Error> {
        self.check(&found.range)?;
        let preview = self.connection().all_keys().preview_delete(found.range.clone()).await?;
        // If a run of that id is registered just now, the keys are that run's.
        let no_run = found.run(self.roots()).map(|id| Compare::absent(self.record_key(&id)));
        let mut deletion = preview.into_deletion().only_while(no_run)?;
        match deletion.run(|_| ()).await {
            Err(error) if error.kind != ErrorKind::NotMet => Err(error),
            _ => Ok(deletion.progress().deleted),
        }
    }

    /// Claims a run; `None`: the run has changed since it was read.
    pub(crate) async fn claim(&self, run: &Entry, state: State, unless: Unless) -> Result<Option<Claim>, Error> {
        let record = match &run.found {
            Found::Record(record) => record.with(state),
            Found::Damaged(_) | Found::Newer(_) => {
                let nobody = Record::new(0, "".into(), "a damaged record".to_owned(), TTL);
                nobody.with(state)
            }
        };
        let key = self.record_key(&run.id);
        let alive = self.alive_key(&run.id);
        let value = record
            .to_bytes()
            .map_err(|error| self.connection().error(Operation::Commit, ErrorKind::Invalid(error.to_string())))?;
        let unchanged = Compare::mod_revision(KeyRange::key(key.as_str()), etcd_client::CompareOp::Equal, run.revision);
        let mut txn = Txn::new().when(unchanged).then(Put::new(key, value));
        txn = match unless {
            Unless::Alive => txn.when(Compare::absent(alive)),
            Unless::Never => txn.then(Delete::key(alive)),
        };
        let answer = self.connection().all_keys().send(txn).await?;
        let (id, fenced) = (run.id.clone(), run.fenced);
        let claim = Claim { registry: self.clone(), id, fenced, revision: answer.revision };
        Ok(answer.succeeded.then_some(claim))
    }

    fn check(&self, range: &KeyRange) -> Result<(), Error> {
        let refuse = |refusal: etcd_keys::guard::Refusal| {
            self.connection().error(Operation::Delete(range.clone()), ErrorKind::Invalid(refusal.to_string()))
        };
        self.roots().check(range).map_err(refuse)
    }
}

impl Claim {
    /// Deletes the whole run, the record last.
    pub(crate) async fn sweep(&self) -> Result<Swept, Error> {
        let mut gone = 0;
        let unfenced = self.delete_fence().await;
        // A run whose user may not be deleted keeps its record: somebody else finds the user by it.
        let done = match self.delete_keys(&mut gone).await.and(unfenced) {
            Ok(()) => self.finish(&mut gone).await,
            failed => failed,
        };
        match done {
            Ok(()) => Ok(Swept::Gone(gone)),
            Err(error) if error.kind == ErrorKind::NotMet => Ok(Swept::NotOurs(gone)),
            Err(error) => Err(error),
        }
    }

    /// Deletes the run's user and role, if it has them.
    pub(crate) async fn delete_fence(&self) -> Result<(), Error> {
        if self.fenced { self.registry.delete_fence(&self.id).await } else { Ok(()) }
    }

    /// Deletes the run's keys, all but the record and the last few, which are deleted with the record.
    pub(crate) async fn delete_keys(&self, gone: &mut u64) -> Result<(), Error> {
        let (prefix, record) = (self.registry.roots().run(&self.id), self.registry.record_key(&self.id));
        self.registry.check(&KeyRange::prefix(prefix.as_str()))?;
        let after = KeyRange::between(
            etcd_keys::range::successor(record.as_bytes()),
            KeyRange::prefix(prefix.as_str()).end().unwrap_or_default(),
        );
        let keys = self.registry.connection().all_keys();
        for part in [KeyRange::between(prefix, record), after] {
            for _ in 0..ROUNDS {
                let preview = keys.preview_delete(part.clone()).await?;
                if preview.count() <= FEW {
                    break;
                }
                let mut deletion = preview.into_deletion().only_while(self.holds())?;
                let outcome = deletion.run(|_| ()).await;
                *gone += deletion.progress().deleted;
                outcome?;
            }
        }
        Ok(())
    }

    /// Deletes the remaining keys, the record and its line in the index, at one revision.
    pub(crate) async fn finish(&self, gone: &mut u64) -> Result<(), Error> {
        let range = KeyRange::prefix(self.registry.roots().run(&self.id));
        self.registry.check(&range)?;
        let txn = self.holds().into_iter().fold(Txn::new(), Txn::when);
        let txn = txn.then(Delete::range(range.clone())).then(Delete::key(self.registry.index_key(&self.id)));
        let answer = self.registry.connection().all_keys().send(txn).await?;
        match answer.responses.first() {
            Some(OpResponse::Delete(deleted)) if answer.succeeded => {
                // The record is not one of the tests' keys.
                *gone += u64::try_from(deleted.deleted - 1).unwrap_or(0);
                Ok(())
            }
            _ => Err(self.registry.connection().error(Operation::Delete(range), ErrorKind::NotMet)),
        }
    }

    /// The conditions of a claim: the record is unchanged, and there is no heartbeat.
    fn holds(&self) -> [Compare; 2] {
        let (record, alive) = (self.registry.record_key(&self.id), self.registry.alive_key(&self.id));
        [
            Compare::mod_revision(KeyRange::key(record), etcd_client::CompareOp::Equal, self.revision),
            Compare::absent(alive),
        ]
    }
}
