//! A client for etcd's keys: namespaces, paged reads, chunked deletes with undo files, watches without silent gaps, leases,
//! locks and elections. Built on etcd-client and tokio. Has no command line, and does not start servers.
//!
//! A namespace is the keys below a prefix, as a keyspace of its own:
//!
//! ```no_run
//! # async fn example() -> Result<(), etcd_keys::Error> {
//! use etcd_keys::Connect;
//! use etcd_keys::kv::{Compare, Put, Txn};
//!
//! let connection = Connect::new(["127.0.0.1:2379"]).connect().await?;
//! let keys = connection.keys("/Inventory/v1/Test/mine/")?;
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
//! Any number of keys can be read in [`pages`], at one revision and in constant memory:
//!
//! ```no_run
//! # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
//! use etcd_keys::KeyRange;
//!
//! let mut racks = keys.pages(KeyRange::prefix("racks/"));
//! while let Some(rack) = racks.try_next().await? {
//!     println!("{:?} has {} bytes", rack.key, rack.value.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`watch`] reports every change, or says that changes were lost:
//!
//! ```no_run
//! # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
//! use etcd_keys::{KeyRange, watch::Notice};
//!
//! let mut watch = keys.watch(KeyRange::prefix("racks/")).previous_values();
//! loop {
//!     match watch.recv().await? {
//!         Notice::Event(event) => println!("{:?} {:?}", event.kind, event.kv),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # }
//! ```

mod bulk;
mod client;
mod coordination;
pub mod watch;

pub use crate::bulk::{delete, guard, pages, undo};
pub use crate::client::connect::own_watches::OwnWatch;
pub use crate::client::connect::{Connect, Connection};
pub use crate::client::database::{Compacted, DatabaseSize};
pub use crate::client::error::{Error, ErrorKind, Operation};
pub use crate::client::keys::Keys;
pub use crate::client::kv::KeyValue;
pub use crate::client::lease_id::LeaseId;
pub use crate::client::members::Member;
pub use crate::client::namespace::Namespace;
pub use crate::client::own_writes::OwnRevisions;
pub use crate::client::range::KeyRange;
pub use crate::client::redaction::Redaction;
pub use crate::client::tls::Tls;
pub use crate::client::{connect, database, difference, error, keys, kv, members, namespace, range, text, tls};
pub use crate::coordination::election::{Campaign, Leadership};
pub use crate::coordination::lease::{Keeper, Lease};
pub use crate::coordination::lock::{Lock, LockGuard};
pub use crate::coordination::{election, lease, lock};
/// etcd-client: some of its types appear in this crate's API, and [`Connection::raw`] gives access to the rest of it.
pub use etcd_client;
