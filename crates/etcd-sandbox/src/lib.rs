//! Tests that share one etcd and never meet: each has a namespace of its own, below the prefix of its run; runs
//! clean up after themselves, and after those that were killed.
//!
//! # In your workspace
//! ```toml
//! [dev-dependencies]
//! etcd-sandbox = "0.1"
//! ```
//! ```
//! use etcd_sandbox::{Error, Sandbox};
//!
//! #[etcd_sandbox::test]
//! async fn registers_a_rack(sandbox: Sandbox) -> Result<(), Error> {
//!     sandbox.put("racks/1", "8 blades").await?;
//!     sandbox.expect_keys([("racks/1", "8 blades")]).await
//! }
//! ```
//! ```console
//! $ cargo xtask etcd-up    # or set ETCD_ENDPOINTS
//! $ cargo test             # or cargo nextest run, or cargo xtask test, which brings its own etcd
//! ```
//! `[workspace.metadata.etcd]` in the workspace's `Cargo.toml` says where test data goes: `root = "/Product/v1"` and
//! `test-root = "Test"` mean below `/Product/v1/Test/`. Nothing here ever deletes a key outside.
//!
//! # Without the attribute
//! ```no_run
//! # use etcd_sandbox::{Error, Sandbox};
//! #[tokio::test]
//! async fn with_tokio() -> Result<(), Error> {
//!     let sandbox = Sandbox::open("with_tokio").await?;
//!     sandbox.put("a", "1").await?;
//!     Ok(())
//! }
//!
//! #[test]
//! fn without_async() -> Result<(), Error> {
//!     let sandbox = Sandbox::open_blocking("without_async")?;
//!     sandbox.block_on(sandbox.put("a", "1"))?;
//!     Ok(())
//! }
//! ```
//!
//! # Runs
//! A [`Run`] is what a runner of tests has: registered in etcd with who it is, kept alive, and swept at its end.
//! A process that finds `ETCD_TEST_RUN` and `ETCD_TEST_PREFIX` joins that run; any other begins one of its own when it
//! first opens a sandbox. A run is swept by others only when it is [dead for certain](Standing).
//!
//! # Features
//! `private`: [`Sandbox::open_private`] and `#[etcd_sandbox::test(private)]` give a test an etcd of its own.

#[doc(hidden)]
pub mod attribute;
mod clean;
mod error;
mod exit;
mod expect;
mod farewell;
mod history;
mod host;
mod judge;
mod lock;
mod name;
#[cfg(feature = "private")]
mod private;
mod process;
mod record;
mod registry;
mod roots;
mod run;
mod run_id;
mod sandbox;
mod sweep;
mod wait;
mod workspace;

/// Makes a function that takes a [`Sandbox`] a test: `#[etcd_sandbox::test]`, or, with an etcd of its own,
/// `#[etcd_sandbox::test(private)]` (feature `private`). The function may be async or not, and return what a test may
/// return; `#[ignore]` and `#[should_panic]` go with it.
pub use etcd_sandbox_macros::test;

pub use crate::error::Error;
pub use crate::expect::Difference;
pub use crate::judge::{Death, Life, Standing};
#[cfg(feature = "private")]
pub use crate::private::Server;
pub use crate::record::{Found, Record, SCHEMA, State};
pub use crate::registry::{Entry, Listing, Registry, Unregistered};
pub use crate::roots::{Roots, RootsError};
pub use crate::run::{Ended, Plan, Run};
pub use crate::run_id::{NoRunId, RunId};
pub use crate::sandbox::Sandbox;
pub use crate::sweep::Swept;
pub use crate::wait::Waited;
pub use crate::workspace::Workspace;
pub use etcd_client;
pub use etcd_keys;
