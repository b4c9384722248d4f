//! Programs that cargo builds when a command needs them, and what such a build needs.

pub(crate) mod built;
pub mod on_demand;
pub(crate) mod protoc;
pub(crate) mod rebuild;
