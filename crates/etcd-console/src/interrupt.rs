//! Ctrl-C, caught from the call of [`Interrupt::listen`] on, also while the program is busy. `tokio::signal::ctrl_c` would
//! miss a Ctrl-C between two calls.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Signal, ctrl_c};

/// The exit code after Ctrl-C, as in shells.
pub(crate) const INTERRUPTED: i32 = 130;

/// While this exists, Ctrl-C does not end the process.
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

    /// Returns when Ctrl-C has been pressed since `listen` or since the last call.
    pub(crate) async fn pressed(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
