//! Whether a run is dead. An expired lease proves nothing: a server that was stopped for a while lets the
//! leases of live runs run out. Proof is the run's own lock, or, for what is not of this machine, a sign of
//! life that stays away for ten times as long as it may.

use std::time::Duration;

use etcd_keys::Error;
use tokio::time::Instant;

use crate::host::Host;
use crate::runs::lock::{Alone, Tried};
use crate::runs::record::{Found, State};
use crate::runs::registry::{Entry, Registry};

/// How often a heartbeat may be missed before it counts as gone for good.
const TTLS: u32 = 10;

/// How a run stands.
#[derive(Debug)]
#[non_exhaustive]
pub enum Liveness {
    /// It lives.
    Alive(AliveProof),
    /// It is dead for certain.
    Dead(DeathProof),
    /// It cannot be told at once: [`Registry::prove_dead`] tells after so long.
    Unproven(Duration),
    /// Its record is of a form to come: it is left to those who know it.
    Unknown,
}

/// What shows that a run lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliveProof {
    /// Its keeper keeps `.alive`.
    Keeper,
    /// A process on this machine holds its lock.
    Lock,
}

/// The proof that a run is dead; as long as it is held, no process can join the run.
#[derive(Debug)]
pub struct DeathProof(pub(crate) Option<Alone>);

impl Registry {
    /// How a run stands, as far as that can be told at once.
    #[must_use]
    pub fn liveness(&self, run: &Entry) -> Liveness {
        if run.alive {
            return Liveness::Alive(AliveProof::Keeper);
        }
        let record = match &run.found {
            Found::Newer(_) => return Liveness::Unknown,
            Found::Record(record) => Some(record),
            Found::Damaged(_) => None,
        };
        if let Some(record) = record.filter(|record| record.is_of(Host::this())) {
            match Alone::attempt(&record.lock, &run.id) {
                Tried::Free(lock) => return Liveness::Dead(DeathProof(Some(lock))),
                Tried::Held => return Liveness::Alive(AliveProof::Lock),
                // Another container of this host, say, with another file system.
                Tried::Unknown => {}
            }
        }
        // One that has ended by its own word needs no proof.
        if record.is_some_and(|record| record.state == State::Kept) {
            return Liveness::Dead(DeathProof(None));
        }
        Liveness::Unproven(run.found.ttl() * TTLS)
    }

    /// Watches a run that cannot be judged at once: whether `.alive` stays away and the record as it is, for ten
    /// times to live on this process's own clock. Only time between two prompt answers counts, so that a server
    /// which was stopped, or a machine that slept, proves nothing.
    ///
    /// # Errors
    /// Whatever a read may end in that no waiting mends; a server that does not answer is asked again, for twice
    /// the time.
    pub async fn prove_dead(&self, run: &Entry) -> Result<Option<DeathProof>, Error> {
        let ttl = run.found.ttl();
        let pace = ttl / 2;
        let deadline = Instant::now() + ttl * TTLS * 2;
        let (mut away, mut last) = (Duration::ZERO, None);
        while away < ttl * TTLS {
            let asked = Instant::now();
            if asked > deadline {
                return Ok(None);
            }
            match self.entry(&run.id).await {
                Ok(Some(now)) if !now.alive && now.revision == run.revision => {
                    let told = Instant::now();
                    let prompt = told.duration_since(asked) < pace;
                    away += last.filter(|_| prompt).map_or(Duration::ZERO, |last| asked.duration_since(last)).min(ttl);
                    last = prompt.then_some(told);
                }
                Ok(_) => return Ok(None),
                Err(error) if error.kind.is_transient() => last = None,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pace).await;
        }
        Ok(Some(DeathProof(None)))
    }
}
