//! A local etcd as a thing you own: find or install a binary, start it, prove it ready, stop it, wipe it,
//! describe it. Synchronous, no runtime, and it never prints: what happens goes to a [`Reporter`].
//!
//! This is all that another workspace's `xtask` needs:
//!
//! ```no_run
//! use etcd_local::{Builder, Env, Port};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let etcd = Builder::new(Env::from_process()?, ".")?.port(Port::Auto).instance("default")?;
//!     match std::env::args().nth(1).as_deref() {
//!         Some("up") => println!("{}", etcd.up()?.status.endpoints.join(",")),
//!         Some("down") => drop(etcd.down()?),
//!         _ => println!("{:?}", etcd.status()?),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! An [`Instance`] is persistent: its data outlives its process, and its process outlives yours. An
//! [`Ephemeral`] one is gone when its owner is, however that ends:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let builder = etcd_local::Builder::new(etcd_local::Env::from_process()?, ".")?;
//! let etcd = builder.start_ephemeral()?;
//! assert!(etcd.endpoints()[0].starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod data;
mod ephemeral;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod instance;
mod reporter;
mod server;
mod settings;

pub use etcd_binary as binary;
use etcd_system::{command, env, file, lock, os, process, random, wait};
pub use etcd_workspace::{
    ClusterId, Identity, NotYours, Record, SCHEMA, STATE, User, find_foreign, open_exclusive, owner_of,
};

pub use crate::builder::{Builder, MembersError};
#[doc(hidden)] // for etcd-xtask
pub use crate::command::{all_on_path, first_line};
pub use crate::data::DataError;
pub use crate::env::Env;
pub use crate::ephemeral::{Ephemeral, EphemeralError, FailedLaunch, Member};
pub use crate::file::{PathError, check_writable, replace};
pub use crate::instance::{
    Difference, Down, Foreground, Instance, MemberError, MemberStatus, NameError, ObserveError, Reset, ResetError,
    StartError, State, Status, StopError, Up, create_home, create_temporary_home, home,
};
pub use crate::lock::LockError;
#[doc(hidden)] // for etcd-xtask
pub use crate::os::{ProcessGroup, hand_over_stdio_only, has_pidfds};
pub use crate::random::hex as random_hex;
pub use crate::reporter::{Event, Reporter, Silent};
pub use crate::server::counters::{Counted, Counters};
pub use crate::server::health::{DbSize, Health, HealthError};
pub use crate::server::launch::claim_port;
pub use crate::server::launch_error::LaunchError;
pub use crate::server::log::Tail;
pub use crate::server::membership::{ByGateway, ListedMember, Membership};
pub use crate::server::ports::{Holder, PortKind};
pub use crate::server::users::Root;
pub use crate::settings::{
    DEFAULT_INSTANCE, DEFAULT_PEER_PORT, DEFAULT_PORT, DEFAULT_VERSION, Port, Settings, SettingsError, TlsSetting,
};

/// Bytes that this user may still write to the file system of `path`.
///
/// # Errors
/// If the system does not say.
pub fn free_space(path: &std::path::Path) -> std::io::Result<u64> {
    os::free_space(path)
}
