//! `del` is killed with kill -9 at a random moment, while another client writes to the same keys. Every deleted key is in
//! the undo file, keys written after the preview stay, and a second `del` and `undo` complete the work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use etcd_keys::Connection;
use etcd_keys::text::Escaped;
use tokio::task::JoinHandle;

use super::fixture::{Fixture, key, revision_of};
use crate::torture::calls::FinishedCall;
use crate::torture::keyspace::Contents;
use crate::torture::rng::Rng;
use crate::torture::{Outcome, Round};
use crate::wait;

/// The kill comes at a random moment after the phase has begun.
#[derive(Clone, Copy)]
enum Phase {
    Beginning,
    /// The undo file is being written.
    WritingUndo,
    /// The undo file is complete: keys are deleted.
    Deleting,
}

impl Phase {
    fn has_begun(self, fixture: &Fixture<'_>) -> Result<bool> {
        let file = fixture.undo_files()?.into_iter().next();
        Ok(match (self, file) {
            (Self::Beginning, _) | (Self::WritingUndo, Some(_)) => true,
            (Self::Deleting, Some(file)) => String::from_utf8_lossy(&std::fs::read(file)?).contains("{\"end\":"),
            (_, None) => false,
        })
    }
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let keys = round.rng.number(500..8_000);
    let fixture = Fixture::new(round, keys)?;
    let before = fixture.inside()?;
    let writer = Writer::start(&fixture.server.connection, keys, round);
    let mut del = fixture.del(before.len())?;
    let phase = round.rng.choose([Phase::Beginning, Phase::WritingUndo, Phase::Deleting, Phase::Deleting]);
    wait::until("the phase of the kill has begun", wait::TIMEOUT, || {
        Ok(del.has_ended()? || phase.has_begun(&fixture)?)
    })?;
    wait::pause(round.rng.delay(20 + keys / 60));
    let was_running = del.kill()?;
    let written = round.runtime().block_on(writer.finish())?;
    round.tally.add(if was_running { "kills" } else { "kills that came too late" }, 1);
    round.tally.add("keys", keys);
    round.tally.add("writes meanwhile", written.len() as u64);
    fixture.settle()?;

    // The value of each key, if the key is there or comes back.
    let mut latest = before.clone();
    latest.extend(written);
    let left = fixture.inside()?;
    fixture.check_neighbours()?;
    let files = fixture.undo_files()?;
    let preview = files.first().map(|file| revision_of(file)).transpose()?;
    let mut gone = 0;
    for (key, (value, revision)) in &latest {
        match left.get(key) {
            Some(is) => ensure!(is == &(value.clone(), *revision), "`{}` is of revision {}", Escaped(key), is.1),
            None => {
                let preview = preview.unwrap_or(0);
                ensure!(*revision <= preview, "`{}` is gone; it was written after the preview", Escaped(key));
                gone += 1;
            }
        }
    }
    ensure!(latest.len() == left.len() + gone, "there are keys that were never written");
    round.tally.add("keys deleted by then", gone as u64);

    if round.rng.one_in(2) {
        if let Some(file) = files.first() {
            let undone = fixture.undo(file)?;
            // An unfinished file is refused; then no key had been deleted.
            ensure!(has_undone(&undone, file, &latest)? || gone == 0, "`undo` failed: {}", undone.stderr);
        }
        check_values("after undo", &latest, &fixture.inside()?)?;
        fixture.check_neighbours()?;
    }
    let left = fixture.inside()?.len();
    fixture.del(left)?.finish()?.ok()?;
    ensure!(fixture.inside()?.is_empty(), "the second `del` left {} keys", fixture.inside()?.len());
    // The newest first: it has what the first `del` left.
    for file in fixture.undo_files()? {
        let undone = fixture.undo(&file)?;
        let was_refused = gone == 0 && Some(&file) == files.first();
        ensure!(has_undone(&undone, &file, &latest)? || was_refused, "`undo` failed: {}", undone.stderr);
    }
    check_values("after all is undone", &latest, &fixture.inside()?)?;
    fixture.check_neighbours()?;
    Ok(Outcome::Completed)
}

/// Whether `undo` succeeded. A key that was written after the preview keeps its value: then, and only then, `undo` ends
/// with exit code 4. All keys that the writer writes were there before, so the undo file has each of them.
fn has_undone(undo: &FinishedCall, file: &Path, latest: &Contents) -> Result<bool> {
    let preview = revision_of(file)?;
    let has_conflicts = latest.values().any(|(_, revision)| *revision > preview);
    Ok(undo.status.code() == Some(if has_conflicts { 4 } else { 0 }))
}

/// Restored keys have new revisions.
fn check_values(when: &str, expected: &Contents, there: &Contents) -> Result<()> {
    for (key, (value, _)) in expected {
        let is = there.get(key).map(|(value, _)| value);
        ensure!(is == Some(value), "{when}, `{}` is {is:?}", Escaped(key));
    }
    ensure!(expected.len() == there.len(), "{when}, there are {} keys, not {}", there.len(), expected.len());
    Ok(())
}

/// Another client, which writes to the same keys.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Contents>>,
}

impl Writer {
    fn start(connection: &Connection, keys: u64, round: &mut Round<'_>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = write(connection.clone(), keys, round.rng.fork(), Arc::clone(&stop));
        Self { stop, task: round.runtime().spawn(task) }
    }

    async fn finish(self) -> Result<Contents> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

async fn write(connection: Connection, keys: u64, mut rng: Rng, stop: Arc<AtomicBool>) -> Result<Contents> {
    let mut written = Contents::new();
    while !stop.load(Ordering::SeqCst) {
        let key = key(rng.number(0..keys));
        let value = format!("later-{}", written.len());
        let revision = connection.all_keys().put(key.as_str(), value.as_str()).await?.revision;
        written.insert(key.into(), (value.into(), revision));
    }
    Ok(written)
}
