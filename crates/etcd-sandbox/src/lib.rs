//! Tests that share one etcd and never meet: each has a namespace of its own, below the prefix of its run. Runs delete
//! their keys at their end, and the keys of runs that were killed.
//!
//! # In your workspace
//! A dependency,
//! ```toml
//! [dev-dependencies]
//! etcd-sandbox = "0.1"
//! ```
//! a test,
//! ```
//! use etcd_sandbox::{Error, Sandbox};
//!
//! #[etcd_sandbox::test]
//! async fn registers_a_rack(sandbox: Sandbox) -> Result<(), Error> {
//!     sandbox.put("racks/1", "8 blades").await?;
//!     sandbox.expect_keys([("racks/1", "8 blades")]).await
//! }
//! ```
//! and two commands:
//! ```console
//! $ cargo xtask etcd-up    # or ETCD_ENDPOINTS=http://… for an etcd elsewhere
//! $ cargo test             # or `cargo nextest run`; or only `cargo xtask test`, which brings its own etcd
//! ```
//! `[workspace.metadata.etcd]` in the workspace's `Cargo.toml` says where test data goes: `root = "/Product/v1"` and
//! `test-root = "Test"` mean below `/Product/v1/Test/`. No key outside is ever deleted. A test uses the etcd that
//! `ETCD_ENDPOINTS` names, else the workspace's instance `default`, if that runs. Another etcd on that instance's port is
//! not used. Each sandbox says on stderr which etcd it is on, and runners show that for a test that fails.
//!
//! # What a test has
//! A [`Sandbox`] is a keyspace of the test's own: [`Keys`](etcd_keys::Keys) relative to [`Sandbox::prefix`]. Code under
//! test is told to write below that prefix. Tests then look for its keys with
//! [`Sandbox::wait_for`], [`Sandbox::wait_absent`], [`Sandbox::expect_keys`], [`Sandbox::history`] and
//! [`Sandbox::lease`]:
//! ```no_run
//! # use etcd_sandbox::{Error, Sandbox};
//! # struct Server;
//! # impl Server { async fn start(_: &[String], _: &str) -> Server { Server } }
//! #[etcd_sandbox::test]
//! async fn announces_itself(sandbox: Sandbox) -> Result<(), Error> {
//!     let server = Server::start(sandbox.endpoints(), sandbox.prefix()).await;
//!     sandbox.wait_for("servers/1", "ready").await?;
//!     drop(server);
//!     sandbox.wait_absent("servers/1").await?;
//!     assert_eq!(sandbox.history().await?.len(), 2);
//!     Ok(())
//! }
//! ```
//! Opening a sandbox takes microseconds and asks etcd nothing: open as many as you like.
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
//! With rstest, whose own attribute gives a test its arguments, a fixture opens the sandbox:
//! ```no_run
//! # use etcd_sandbox::{Error, Sandbox};
//! #[rstest::fixture]
//! fn sandbox() -> Sandbox {
//!     Sandbox::open_blocking("racks").unwrap()
//! }
//!
//! #[rstest::rstest]
//! #[case("a")]
//! #[case("b")]
//! #[tokio::test]
//! async fn of_rstest(sandbox: Sandbox, #[case] key: &str) -> Result<(), Error> {
//!     sandbox.put(key, "1").await?;
//!     Ok(())
//! }
//! ```
//!
//! # Runs
//! A runner of tests has a [`Run`](runs::Run): registered in etcd, kept alive, and swept at its end. If
//! `ETCD_TEST_RUN` and `ETCD_TEST_PREFIX` are set, a process joins that run, and ends when the run ends. Otherwise a
//! process starts a run of its own when it first opens a sandbox, and sweeps that run when it ends. If the process is
//! killed, the next process on the same machine sweeps the run, or `cargo xtask test-clean` does: only when the run
//! is [dead for certain](runs::Liveness).
//!
//! # Features
//! `private`: `Sandbox::open_private` and `#[etcd_sandbox::test(private)]` give a test an etcd of its own. Tests that
//! change the whole server want one: users, alarms, compaction, members.
//!
//! `tracing`: the events of `tracing` that a test and its tokio tasks emit are on the timeline of a failed test.
//! `Sandbox::dispatch` does so for tests without the attribute, and for threads.

#[doc(hidden)]
pub mod attribute;
mod connect;
mod error;
mod expect;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod hint;
mod host;
mod roots;
mod run_id;
pub mod runs;
mod sandbox;
mod timeline;
mod wait_timeout;
mod workspace;

/// Makes a function that takes a [`Sandbox`] a test. The function may be async or not, and return what a test may
/// return; `#[ignore]` and `#[should_panic]` work as usual. Options, in parentheses and separated by commas:
///
/// | option | effect |
/// |---|---|
/// | `clean` | The test fails if it leaves keys in its sandbox. What the sandbox's lease has goes by itself. |
/// | `private` | The test has an etcd of its own (feature `private`): `Sandbox::server`. |
/// | `members = 3` | That etcd has 3, 5 or 7 members; only with `private`. |
/// | `tls` | Clients of that etcd speak TLS, and show a certificate; only with `private`. |
/// | `auth` | Authentication is on in that etcd, and the sandbox is its user `root`; only with `private`. |
/// | `flavor = "multi_thread"` | An async test runs on several threads; default: `"current_thread"`. |
/// | `worker_threads = 2` | The number of these threads; only with `"multi_thread"`. |
/// | `crate = "my::reexport"` | This crate is `my::reexport`, for crates that re-export it. |
///
/// ```no_run
/// # use etcd_sandbox::{Error, Sandbox};
/// #[etcd_sandbox::test(flavor = "multi_thread", worker_threads = 2)]
/// async fn with_threads(sandbox: Sandbox) -> Result<(), Error> {
///     let writing = sandbox.clone();
///     let written = tokio::spawn(async move { writing.put("a", "1").await });
///     sandbox.wait_for("a", "1").await?;
///     assert!(written.await.is_ok());
///     Ok(())
/// }
/// ```
pub use etcd_sandbox_macros::test;

pub use crate::connect::{connect, connect_options};
pub use crate::error::Error;
pub use crate::expect::Difference;
pub use crate::sandbox::Sandbox;
#[cfg(feature = "private")]
pub use crate::sandbox::private::Private;
pub use crate::wait_timeout::WaitTimeout;
pub use etcd_client;
pub use etcd_keys;
#[cfg(feature = "private")]
pub use etcd_local;
