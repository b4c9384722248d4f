//! The store against a real etcd, each test in a sandbox of its own. Start one with `cargo xtask etcd-up`, or run them
//! by `cargo xtask test`, which brings its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should fail on the spot"
)]

mod concurrency;
mod config;
mod connection;
mod example;
mod fixture;
mod listing;
mod many;
mod model;
#[cfg(unix)]
mod outage;
mod records;
mod tracing;
mod transactions;
mod typed;
mod watching;
