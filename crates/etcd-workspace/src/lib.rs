//! What a workspace says of its own etcd: the settings of its `Cargo.toml`, the record of an instance, and whether its
//! server runs. Read here, in one way, by those who start servers and by those who only want to reach one. Starts nothing, prints nothing, and
//! writes nothing but an empty lock file.
//!
//! ```no_run
//! use etcd_workspace::{Liveness, home, liveness};
//!
//! # fn main() -> Result<(), etcd_workspace::InstanceError> {
//! match liveness(&home(".".as_ref(), None).join("default"))? {
//!     Liveness::Running(record) => println!("{}", record.endpoints.join(",")),
//!     Liveness::Starting => println!("not ready yet"),
//!     Liveness::NoQuorum { running, members } => println!("only {running} of {members} members run"),
//!     Liveness::Stopped => println!("not running"),
//! }
//! # Ok(())
//! # }
//! ```

mod client_config;
mod error;
mod instance;
mod lock;
mod manifest;
mod orphan;
mod owner;
mod paths;
mod record;
mod settings;
mod tls;

pub use crate::client_config::{ClientConfig, ClientConfigError, Leads, ManifestCluster, Password};
pub use crate::error::InstanceError;
pub use crate::instance::{Liveness, is_learner, liveness, member_names};
pub use crate::lock::{is_held, lock_error, open_exclusive};
pub use crate::orphan::{instance_dir, orphaned, orphans};
pub use crate::owner::{NotYours, User, find_foreign, owner_of};
pub use crate::paths::{RECORD, SCHEMA, SCHEMA_2, STATE, home, member_lock, operation_lock};
pub use crate::record::{ClusterId, Identity, MemberRecord, Record};
pub use crate::settings::{
    DEFAULT_PORT, DEFAULT_TEST_ROOT, MOST_LEARNERS, ManifestSettings, ManifestUser, NoRoot, Port, TlsSetting,
    is_prefix, is_segment,
};
pub use crate::tls::{TlsFiles, TlsScope};
