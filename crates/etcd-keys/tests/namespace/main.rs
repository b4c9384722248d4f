//! The namespaced client against real etcds: one server of each version for the whole process, a namespace of
//! its own for each test.

#![cfg(unix)] // signals and paths; the library itself has nothing of either system
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should fail on the spot"
)]

#[macro_use]
mod fixture;
mod api;
mod claims;
mod connecting;
mod credentials;
mod cut_off;
mod elections;
mod errors;
mod keys;
mod leases;
mod locks;
mod model;
mod own_writes;
mod transactions;
mod users;
