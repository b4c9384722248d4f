//! What the tests of several crates share: a TCP proxy, free ports, clusters whose members can be cut off, waiting, finished programs,
//! which etcds there are, and the removal of what killed tests leave. Nothing that knows what one crate does; nothing that
//! the product uses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[cfg(unix)]
pub mod copy;
#[cfg(unix)]
pub mod leftovers;
#[cfg(unix)]
pub mod members;
pub mod ports;
pub mod proxy;
pub mod run;
pub mod secure;
pub mod server;
pub mod version;
pub mod wait;

#[cfg(unix)]
pub use copy::copy;
#[cfg(unix)]
pub use members::Members;
pub use ports::free_port;
pub use proxy::Proxy;
pub use run::{Run, finish, finish_child};
pub use server::Persistent;
pub use version::{Etcd, GO, builder, kept};
pub use wait::{TIMEOUT, eventually};
