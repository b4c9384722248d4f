//! etcd's keyspace without fear: namespaces, paged reads, chunked deletes with undo, watches without gaps.
//! On etcd-client and tokio. Knows nothing of command lines, tests or local servers.
//!
//! A namespace is all keys below a prefix, as a keyspace of its own:
//!
//! ```no_run
//! # async fn example() -> Result<(), etcd_keys::Error> {
//! use etcd_keys::Connect;
//! use etcd_keys::kv::{Compare, Put, Txn};
//!
//! let connection = Connect::new(["127.0.0.1:2379"]).connect().await?;
//! let keys = connection.namespace("/Inventory/v1/Test/mine/")?;
//! keys.put("racks/1", "8 blades").await?;
//! if let Some(rack) = keys.get("racks/1").await? {
//!     let swap = Txn::new().when(Compare::unchanged(&rack)).then(Put::new(rack.key, "9 blades"));
//!     assert!(keys.send(swap).await?.succeeded);
//! }
//! keys.lock("inventory").await?.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! However many keys there are, they are read in [`pages`] at one revision, in constant memory:
//!
//! ```no_run
//! # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
//! use etcd_keys::KeyRange;
//!
//! let mut racks = keys.pages(KeyRange::prefix("racks/"));
//! while let Some(rack) = racks.next().await? {
//!     println!("{:?} has {} bytes", rack.key, rack.value.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`watch`] tells what happens to them, and says so where it cannot:
//!
//! ```no_run
//! # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
//! use etcd_keys::{KeyRange, watch::Notice};
//!
//! let mut watch = keys.watch(KeyRange::prefix("racks/")).previous_values();
//! loop {
//!     match watch.next().await? {
//!         Notice::Event(event) => println!("{:?} {:?}: {:?}", event.kind, event.key, event.value),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # }
//! ```

mod claim;
pub mod client;
mod clock;
mod compaction;
pub mod connect;
pub mod delete;
pub mod election;
pub mod error;
mod granted;
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
