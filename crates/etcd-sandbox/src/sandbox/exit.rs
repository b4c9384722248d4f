//! Calls a function when the process ends. The only unsafe code of this crate: Rust's test harness has no hook for its
//! end, the C library has one.

#![expect(unsafe_code, reason = "the standard library has no hook for the end of a process")]

use std::sync::OnceLock;

static LAST: OnceLock<fn()> = OnceLock::new();

extern "C" fn call_last() {
    if let Some(last) = LAST.get() {
        // A panic must not cross into C.
        drop(std::panic::catch_unwind(last));
    }
}

/// Calls `last` when the process returns from `main` or calls `exit`. Only the first call registers a function.
pub(crate) fn at_exit(last: fn()) {
    if LAST.set(last).is_ok() {
        // SAFETY: the function lives as long as the program, takes no arguments, and does not unwind.
        // If the library has no room for it, it is not called, as if the process had been killed.
        unsafe { libc::atexit(call_last) };
    }
}
