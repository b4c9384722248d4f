//! Reads, deletes, undo files and watches against real etcds, with what goes wrong in between: writers,
//! compactions, kills, pauses, resets and connections that break anywhere.

#![cfg(unix)] // signals and paths; the library itself has nothing of either system
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets the unexpected should fail on the spot")]

mod delete;
mod follower;
mod history;
mod pages;
mod server;
mod undo;
mod watch;
mod watch_faults;
