//! The real `etcd-console` against real etcds: what users type, what they read, and what stays in etcd.

#![cfg(unix)] // signals and closed pipes; the engine is proven on Windows by .ci/windows-proof
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod arguments;
mod back;
mod bad_luck;
mod browsing;
mod browsing_faults;
mod cleaning;
mod cluster;
mod comparing;
mod deleting;
mod documentation;
mod interrupted;
mod keeping;
mod meant;
mod members;
mod outcomes;
mod page;
mod reading;
mod reverting;
mod screen;
mod terminal;
mod watching;
