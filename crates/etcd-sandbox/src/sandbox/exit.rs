//! Having something done when the process ends. The only unsafe code of this crate: Rust's test harness calls
//! nobody at its end, C's library does.

#![expect(unsafe_code, reason = "the standard library has no hook for the end of a process")]

use std::sync::OnceLock;

static LAST: OnceLock<fn()> = OnceLock::new();

extern "C" fn call_last() {
    if let Some(last) = LAST.get() {
        // A panic must not cross into C.
        drop(std::panic::catch_unwind(last));
    }
}

/// Calls `last` when the process ends by itself: by returning from `main`, or by `exit`. Only the first one counts.
pub(crate) fn at_exit(last: fn()) {
    if LAST.set(last).is_ok() {
        // SAFETY: the function is there for as long as the program, takes nothing, and does not unwind.
        // If the library has no room for it, nobody is called, which is as if the process had been killed.
        unsafe { libc::atexit(call_last) };
    }
}
