//! A child that has the terminal: it runs to its end, Ctrl-C is its to handle first, and ours to see through.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::exit::Exit;

/// How long a child may take to end after Ctrl-C before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a child is asked whether it has ended.
const PACE: Duration = Duration::from_millis(5);

/// Becomes another program: on Unix in this very process, so that signals and memory are its own.
///
/// # Errors
/// If it cannot be run.
#[cfg(unix)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    use std::os::unix::process::CommandExt as _;

    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", command.get_program().display()))
}

/// Becomes another program, as far as Windows allows: it runs, and this one waits and passes its code on.
///
/// # Errors
/// If it cannot be run.
#[cfg(windows)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    Interrupts::listen()?.run(command, || ())
}

/// Hears of Ctrl-C, SIGTERM and the like while children run; the second one ends this process at once.
pub(crate) struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// Starts listening. At most once a process.
    pub(crate) fn listen() -> Result<Self> {
        let count = Arc::new(AtomicUsize::new(0));
        let heard = Arc::clone(&count);
        let hear = move || {
            if heard.fetch_add(1, SeqCst) > 0 {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(hear).context("cannot watch for Ctrl-C")?;
        Ok(Self(count))
    }

    /// Whether there was one.
    pub(crate) fn any(&self) -> bool {
        self.0.load(SeqCst) > 0
    }

    /// Runs a child to its end, however long that takes. After an interrupt, which a terminal sends to the
    /// child as well, it has a while to end by itself. Calls `meanwhile` every few milliseconds.
    pub(crate) fn run(&self, command: &mut Command, mut meanwhile: impl FnMut()) -> Result<Exit> {
        let failed = format!("cannot run `{}`", command.get_program().display());
        let mut child = command.spawn().context(failed)?;
        let mut interrupted = None;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if self.any() { Exit::INTERRUPTED } else { Exit::of_child(status) });
            }
            if self.any() && interrupted.get_or_insert_with(Instant::now).elapsed() > GRACE {
                child.kill().context("cannot end the interrupted child")?;
            }
            meanwhile();
            std::thread::park_timeout(PACE);
        }
    }
}
