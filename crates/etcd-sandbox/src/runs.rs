//! For runners of tests: runs, their registry in etcd, which runs are dead, and how dead runs are swept. Authors of tests
//! need none of this: a [`Sandbox`](crate::Sandbox) finds or starts its run itself.

pub(crate) mod clean;
mod escapes;
pub(crate) mod fence;
mod heartbeat;
mod leaks;
pub(crate) mod liveness;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod registry;
pub(crate) mod run;
mod sandboxes;
mod sweep;

pub use self::escapes::{EscapeSearch, Escapes};
pub use self::fence::Credentials;
pub use self::leaks::{Leaks, LeftLease};
pub use self::liveness::{AliveProof, DeathProof, Liveness};
pub use self::plan::Plan;
pub use self::record::{Found, Record, State};
pub use self::registry::{Entry, Listing, Registry, Unregistered};
pub use self::run::{Run, RunSummary};
pub use self::sandboxes::SandboxSummary;
pub use self::sweep::Swept;
pub use crate::roots::{Roots, RootsError};
pub use crate::run_id::{RunId, RunIdError};
