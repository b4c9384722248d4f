//! The client: connections, namespaces, and requests that take one round trip. Reads and deletes of any size are in `bulk`,
//! watches in `watch`, leases and locks in `coordination`.

pub(crate) mod compaction;
pub mod connect;
pub mod database;
pub mod difference;
pub mod error;
pub(crate) mod granted;
pub mod keys;
pub mod kv;
pub(crate) mod lease_id;
pub mod members;
pub mod namespace;
pub(crate) mod own_writes;
pub mod range;
pub(crate) mod redaction;
pub(crate) mod retry;
pub mod text;
pub mod tls;
pub(crate) mod users;
pub(crate) mod write;
