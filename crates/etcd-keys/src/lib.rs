//! etcd's keyspace without fear: namespaces, paged reads, chunked deletes with undo, watches without gaps.
//! On etcd-client and tokio. Knows nothing of command lines, tests or local servers.
//!
//! A namespace is all keys below a prefix, as a keyspace of its own:
//!
//! ```no_run
//! # async fn example() -> Result<(), etcd_keys::Error> {
//! use etcd_keys::Connect;
//! use etcd_keys::kv::{Compare, Get, Put, Txn};
//!
//! let connection = Connect::new(["127.0.0.1:2379"]).connect().await?;
//! let keys = connection.namespace("/CloudChamber/v0.1/Test/mine/")?;
//! keys.put("racks/1", "8 blades").await?;
//! if let Some(rack) = keys.get("racks/1").await? {
//!     let swap = Txn::new().when(Compare::unchanged(&rack)).then(Put::new(rack.key, "9 blades"));
//!     assert!(keys.send(swap).await?.succeeded);
//! }
//! let racks = keys.send(Get::prefix("racks/").limit(100)).await?;
//! println!("{} racks at revision {}", racks.count, racks.revision);
//! keys.lock("inventory").await?.release().await?;
//! # Ok(())
//! # }
//! ```

mod claim;
pub mod client;
mod compaction;
pub mod connect;
pub mod delete;
pub mod election;
pub mod error;
pub mod guard;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod namespace;
pub mod pages;
pub mod range;
mod retry;
pub mod text;
pub mod undo;
pub mod watch;

pub use crate::client::Keys;
pub use crate::connect::{Connect, Connection};
pub use crate::election::{Campaign, Leadership};
pub use crate::error::{Error, Kind, Operation};
pub use crate::kv::KeyValue;
pub use crate::lease::{Keeper, Lease};
pub use crate::lock::{Lock, LockGuard};
pub use crate::namespace::Namespace;
pub use crate::range::KeyRange;
