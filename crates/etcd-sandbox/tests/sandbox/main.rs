//! Sandboxes and runs against real etcds, with what goes wrong in between: kills, stopped servers, forged records,
//! cleaners that compete. `subject` holds tests as users write them, which the others also start in processes of their own.

#![cfg(unix)] // signals and paths; the library itself runs on all systems
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod ending;
mod fixture;
mod forged;
mod isolation;
mod leaks;
mod liveness;
mod stopped;
mod subject;
mod sweeping;
mod target;
mod timeline;
mod troubles;
mod unregistered;
