//! Waiting, always with a deadline. The only place of the tortures that puts a thread to sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Longer than anything here takes, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(2);

/// Nothing happens for so long.
pub(crate) fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Looks again until there is something.
pub(crate) fn look<T>(patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        pause(PACE);
    }
}

/// Looks again until it is so; fails, naming what never was, when patience ends.
pub(crate) fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    match look(patience, || Ok(is_so()?.then_some(())))? {
        Some(()) => Ok(()),
        None => bail!("{what}: not so after {} s", patience.as_secs()),
    }
}
