//! Ctrl-C, heard from the moment that we listen: also what comes while we are busy with something else, which
//! `tokio::signal::ctrl_c` by itself would miss between two calls.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c};

/// The exit code after Ctrl-C, as shells have it.
pub(crate) const INTERRUPTED: i32 = 130;

/// From here on Ctrl-C does not end us by itself.
pub(crate) struct Interrupt {
    signal: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        let signal = signal(SignalKind::interrupt())?;
        #[cfg(windows)]
        let signal = ctrl_c()?;
        Ok(Self { signal })
    }

    /// Returns once Ctrl-C was pressed, since we listen or since the last time.
    pub(crate) async fn pressed(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
