//! Waiting: always with a timeout, and only until Ctrl-C where Ctrl-C is handled here. No other module polls.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Longer than any wait here takes, also on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// Short, but long enough not to load the machine that is measured.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

/// The user pressed Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// From now on, Ctrl-C ends every wait. A second Ctrl-C ends this process.
pub(crate) fn handle_ctrl_c() -> Result<()> {
    let handler = || {
        if INTERRUPTS.fetch_add(1, SeqCst) > 0 {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")
}

/// # Errors
/// [`Interrupted`].
pub(crate) fn check_interrupted() -> Result<()> {
    if INTERRUPTS.load(SeqCst) > 0 { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sleeps.
pub(crate) fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Polls until there is a value; `None` after the timeout.
pub(crate) fn poll<T>(timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let until = Instant::now() + timeout;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        check_interrupted()?;
        if Instant::now() > until {
            return Ok(None);
        }
        pause(POLL_INTERVAL);
    }
}

/// Polls until a condition holds. After the timeout the error names the condition.
pub(crate) fn until(condition: &str, timeout: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    match poll(timeout, || Ok(holds()?.then_some(())))? {
        Some(()) => Ok(()),
        None => bail!("still not true after {} s: {condition}", timeout.as_secs()),
    }
}
