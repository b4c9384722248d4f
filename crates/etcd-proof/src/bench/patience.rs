//! Waiting: with a deadline, and only until somebody presses Ctrl-C.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// As short as does not load the machine whose work is measured.
const PACE: Duration = Duration::from_millis(1);

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

/// Somebody pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// From now on, what waits here or for a process ends when somebody presses Ctrl-C; the second time everything does.
pub(super) fn listen() -> Result<()> {
    let hear = || {
        if INTERRUPTS.fetch_add(1, SeqCst) > 0 {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(hear).context("cannot watch for Ctrl-C")
}

/// # Errors
/// [`Interrupted`].
pub(super) fn interrupted() -> Result<()> {
    if INTERRUPTS.load(SeqCst) > 0 { Err(Interrupted.into()) } else { Ok(()) }
}

/// Looks again and again until it sees something; `what` completes "… in time".
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        interrupted()?;
        ensure!(began.elapsed() < PATIENCE, "{what} in {} s", PATIENCE.as_secs());
        std::thread::park_timeout(PACE);
    }
}
