//! `del` is killed with kill -9 at some moment, while another client goes on writing to the same keys. Nothing is gone
//! that the undo file has not, what was written after the preview stays, and running both again ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use etcd_keys::Connection;
use etcd_keys::text::Escaped;
use tokio::task::JoinHandle;

use super::scene::{Scene, key, revision_of};
use crate::torture::calls::Call;
use crate::torture::dice::Dice;
use crate::torture::keyspace::Contents;
use crate::torture::{Played, Round};
use crate::wait;

/// When the kill comes: at some moment from then on.
#[derive(Clone, Copy)]
enum Phase {
    Beginning,
    /// What goes is being written down.
    Noting,
    /// All of it is: keys go.
    Deleting,
}

impl Phase {
    fn has_come(self, scene: &Scene<'_>) -> Result<bool> {
        let file = scene.undo_files()?.into_iter().next();
        Ok(match (self, file) {
            (Self::Beginning, _) | (Self::Noting, Some(_)) => true,
            (Self::Deleting, Some(file)) => String::from_utf8_lossy(&std::fs::read(file)?).contains("{\"end\":"),
            (_, None) => false,
        })
    }
}

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let keys = round.dice.number(500..8_000);
    let scene = Scene::new(round, keys)?;
    let before = scene.inside()?;
    let writer = Writer::start(&scene.ground.connection, keys, round);
    let mut del = scene.del(before.len())?;
    let phase = round.dice.pick([Phase::Beginning, Phase::Noting, Phase::Deleting, Phase::Deleting]);
    wait::until("the phase to strike in", wait::PATIENCE, || Ok(del.is_over()? || phase.has_come(&scene)?))?;
    wait::pause(round.dice.moment(20 + keys / 60));
    let was_running = del.kill()?;
    let written = round.runtime().block_on(writer.finish())?;
    round.tally.add(if was_running { "kills" } else { "kills that came too late" }, 1);
    round.tally.add("keys", keys);
    round.tally.add("writes meanwhile", written.len() as u64);
    scene.settle()?;

    // What each key must be if it is there, or comes back.
    let mut latest = before.clone();
    latest.extend(written);
    let left = scene.inside()?;
    scene.neighbours_are_well()?;
    let files = scene.undo_files()?;
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
    ensure!(latest.len() == left.len() + gone, "there are keys that nobody wrote");
    round.tally.add("keys deleted by then", gone as u64);

    if round.dice.once_in(2) {
        if let Some(file) = files.first() {
            let undone = scene.undo(file)?;
            // A file that was not finished is refused; then nothing had been deleted yet.
            ensure!(has_undone(&undone) || gone == 0, "`undo` failed: {}", undone.stderr);
        }
        values_are("after undo", &latest, &scene.inside()?)?;
        scene.neighbours_are_well()?;
    }
    let left = scene.inside()?.len();
    scene.del(left)?.finish()?.ok()?;
    ensure!(scene.inside()?.is_empty(), "the second `del` left {} keys", scene.inside()?.len());
    // The newest first: it has what was left by the first one.
    for file in scene.undo_files()? {
        let undone = scene.undo(&file)?;
        ensure!(has_undone(&undone) || (gone == 0 && Some(&file) == files.first()), "`undo` failed: {}", undone.stderr);
    }
    values_are("after all is undone", &latest, &scene.inside()?)?;
    scene.neighbours_are_well()?;
    Ok(Played::Through)
}

/// Keys that somebody wrote since keep what they have; `undo` says so by exit code 4.
fn has_undone(undo: &Call) -> bool {
    matches!(undo.status.code(), Some(0 | 4))
}

/// What comes back has other revisions.
fn values_are(when: &str, expected: &Contents, there: &Contents) -> Result<()> {
    for (key, (value, _)) in expected {
        let is = there.get(key).map(|(value, _)| value);
        ensure!(is == Some(value), "{when}, `{}` is {is:?}", Escaped(key));
    }
    ensure!(expected.len() == there.len(), "{when}, there are {} keys, not {}", there.len(), expected.len());
    Ok(())
}

/// Another client, which writes to keys that are there or were.
struct Writer {
    over: Arc<AtomicBool>,
    task: JoinHandle<Result<Contents>>,
}

impl Writer {
    fn start(connection: &Connection, keys: u64, round: &mut Round<'_>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let task = write(connection.clone(), keys, round.dice.fork(), Arc::clone(&over));
        Self { over, task: round.runtime().spawn(task) }
    }

    async fn finish(self) -> Result<Contents> {
        self.over.store(true, Ordering::SeqCst);
        self.task.await?
    }
}

async fn write(connection: Connection, keys: u64, mut dice: Dice, over: Arc<AtomicBool>) -> Result<Contents> {
    let mut written = Contents::new();
    while !over.load(Ordering::SeqCst) {
        let key = key(dice.number(0..keys));
        let value = format!("later-{}", written.len());
        let revision = connection.all_keys().put(key.as_str(), value.as_str()).await?.revision;
        written.insert(key.into(), (value.into(), revision));
    }
    Ok(written)
}
