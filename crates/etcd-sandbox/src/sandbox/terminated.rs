//! A test that a runner ends, because it took too long, explains itself too. Only under nextest, which sends SIGTERM to end a
//! test, and for no other reason: elsewhere the code under test may handle that signal.

use std::sync::{Mutex, PoisonError, Weak};

use tokio::runtime::Handle;

use crate::sandbox::recorder::Recorder;

/// Those of the sandboxes that are open, and some that were.
static OPEN: Mutex<Vec<Weak<Recorder>>> = Mutex::new(Vec::new());

/// The exit code of a process that SIGTERM ended, as shells have it.
#[cfg(unix)]
const TERMINATED: i32 = 128 + 15;

/// A test is open from now on.
pub(super) fn add(recorder: Weak<Recorder>) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Each time that the list would have to grow, which leaves the cost of an open sandbox constant.
    if open.len() == open.capacity() {
        open.retain(|recorder| recorder.strong_count() > 0);
    }
    open.push(recorder);
}

/// Prints the timelines of the open sandboxes when the runner ends this process.
#[cfg(unix)]
pub(super) fn listen(runtime: &Handle) {
    use tokio::signal::unix::{SignalKind, signal};

    if std::env::var_os("NEXTEST").is_none() {
        return;
    }
    runtime.spawn(async {
        let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
        terminated.recv().await;
        // Printing blocks, and wants this runtime meanwhile.
        let printing = std::thread::Builder::new().spawn(|| {
            let open = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
            open.iter().filter_map(Weak::upgrade).for_each(|recorder| recorder.print());
            std::process::exit(TERMINATED);
        });
        if printing.is_err() {
            std::process::exit(TERMINATED);
        }
    });
}

#[cfg(not(unix))]
pub(super) fn listen(_: &Handle) {}
