//! Leases, and what is built on them: locks and elections.

pub(crate) mod claim;
pub(crate) mod clock;
pub mod election;
pub mod lease;
pub mod lock;
