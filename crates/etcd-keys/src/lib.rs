//! etcd's keyspace without fear: namespaces, paged reads, chunked deletes with undo, watches without gaps.
//! On etcd-client and tokio. Knows nothing of command lines, tests or local servers.

pub mod connect;
pub mod error;
pub mod range;
pub mod text;

pub use crate::connect::{Connect, Connection};
pub use crate::error::{Error, Kind, Operation};
pub use crate::range::KeyRange;
