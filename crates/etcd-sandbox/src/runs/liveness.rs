//! Whether a run is dead. An expired lease proves nothing: the leases of live runs expire while the server is stopped.
//! The proof is the run's own lock. For a run of another machine the proof is a heartbeat that is missing for ten times
//! to live.

use std::time::Duration;

use etcd_keys::Error;
use tokio::time::Instant;

use crate::host::Host;
use crate::runs::lock::{Alone, Tried};
use crate::runs::record::{Found, State};
use crate::runs::registry::{Entry, Registry};

/// For how many times to live the heartbeat of a dead run is missing.
const TTLS: u32 = 10;

/// Whether a run is alive.
#[derive(Debug)]
#[non_exhaustive]
pub enum Liveness {
    /// The run is alive.
    Alive(AliveProof),
    /// The run is dead for certain.
    Dead(DeathProof),
    /// This cannot be known at once: [`Registry::prove_dead`] knows after this time.
    Unproven(Duration),
    /// A newer version wrote the record: the run is left to that version.
    Unknown,
}

/// What shows that a run is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliveProof {
    /// The keeper renews `.alive`.
    Keeper,
    /// A process on this machine holds the run's lock.
    Lock,
}

/// The proof that a run is dead. While the proof is held, no process can join the run.
#[derive(Debug)]
pub struct DeathProof(pub(crate) Option<Alone>);

impl Registry {
    /// Whether a run is alive, as far as that can be known at once.
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
        // The record says that the run has ended: no proof is needed.
        if record.is_some_and(|record| record.state == State::Kept) {
            return Liveness::Dead(DeathProof(None));
        }
        Liveness::Unproven(run.found.ttl() * TTLS)
    }

    /// Watches a run whose [`Liveness`] is unproven. The run is dead if `.alive` stays away and the record does not
    /// change for ten times to live, by this process's own clock. Only time between two prompt answers counts: a
    /// stopped server and a machine that slept prove nothing.
    ///
    /// # Errors
    /// Those of a read. A server that does not answer is asked again, for twice the time.
    pub async fn prove_dead(&self, run: &Entry) -> Result<Option<DeathProof>, Error> {
        let ttl = run.found.ttl();
        let interval = ttl / 2;
        let deadline = Instant::now() + ttl * TTLS * 2;
        let (mut away, mut last) = (Duration::ZERO, None);
        while away < ttl * TTLS {
            let sent = Instant::now();
            if sent > deadline {
                return Ok(None);
            }
            match self.entry(&run.id).await {
                Ok(Some(now)) if !now.alive && now.revision == run.revision => {
                    let answered = Instant::now();
                    let prompt = answered.duration_since(sent) < interval;
                    away += last.filter(|_| prompt).map_or(Duration::ZERO, |last| sent.duration_since(last)).min(ttl);
                    last = prompt.then_some(answered);
                }
                Ok(_) => return Ok(None),
                Err(error) if error.kind.is_transient() => last = None,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(interval).await;
        }
        Ok(Some(DeathProof(None)))
    }
}
