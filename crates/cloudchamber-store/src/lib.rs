//! Cloud Chamber's persistent store, on etcd: records by key, with conditions, transactions and watches.
//!
//! A [`Config`] says where the etcd of a [`Store`] is, and whether the store is production's or a test's. A [`Key`] is a
//! [`Root`] and [names](Name). Items that are listed, like racks and their blades, are in a [`Collection`]; a [`Table`]
//! reads and writes them as records of one type:
//!
//! ```no_run
//! use cloudchamber_store::{Config, Expect, ItemKind, Root, Store};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Rack {
//!     blades: u32,
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::connect(&Config::load("configs/cloudchamber.yaml")?).await?;
//! let racks = store.table::<Rack>(Root::Racks.collection(ItemKind::Rack));
//!
//! let created = racks.create("Rack1", &Rack { blades: 8 }).await?;
//! let mut watch = store.watch(&racks.item("rack1")?.record()).await?;
//! racks.update("rack1", &Rack { blades: 9 }, Expect::Revision(created)).await?;
//! println!("{:?}", watch.next().await?);
//!
//! store.disconnect()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds for every operation
//! - It ends within the request timeout; an operation of several requests has that time for each. Listing and deleting
//!   by prefix wait 5 s more for a server that does not answer.
//! - It returns the revision that it made or read: a [conditional](Expect) change, or a [watch](Store::watch_after)
//!   without a gap, begins with that revision.
//! - Its error is an [`Error`], whose [`kind`](Error::kind) tells what happened.
//! - An operation that is all or none is one transaction of etcd, of at most [`MAX_OPERATIONS`] keys; more are
//!   [refused](ErrorKind::TooManyKeys). Other operations take any number of keys.
//!
//! # Typed and raw
//! Values are bytes. [`encode`] makes the bytes of any type that serde can serialize, and [`Record::decode`] gives the
//! type back. A record that is not of that type is an error, never a default.
//!
//! Names, keys, prefixes and roots are strings for serde, and have `FromStr` and `Display`.
//!
//! # In tests
//! With `UseTestNamespace`, keys go under `Test/Standard/`, which all tests of a cluster share and `PreCleanStore`
//! empties. With `UseUniqueInstance`, keys go under the test's own sandbox, and nothing needs cleaning:
//!
//! ```no_run
//! use cloudchamber_store::{Config, Root, Store, TestSettings};
//! use etcd_sandbox::Sandbox;
//!
//! #[etcd_sandbox::test]
//! async fn creates_a_user(sandbox: Sandbox) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut config = Config::default().in_sandbox(sandbox.prefix());
//!     config.test = TestSettings { use_test_namespace: true, use_unique_instance: true, ..TestSettings::default() };
//!     config.service.endpoints = sandbox.endpoints().to_vec();
//!     let store = Store::connect(&config).await?;
//!     store.create(&Root::Users.key("user/admin")?, "{}").await?;
//!     Ok(())
//! }
//! ```

mod collection;
mod condition;
mod config;
mod create;
mod delete;
mod error;
mod key;
mod list;
mod members;
mod name;
mod read;
mod record;
mod store;
mod table;
mod trace;
mod transaction;
mod update;
mod watch;

pub use crate::collection::{Collection, Item, ItemKind};
pub use crate::condition::{Condition, Expect};
pub use crate::config::{Config, ROOT, Security, Service, TestSettings};
pub use crate::delete::PrefixDeleted;
pub use crate::error::{Error, ErrorKind};
pub use crate::key::{Key, Prefix, Root};
pub use crate::list::Listing;
pub use crate::members::Member;
pub use crate::name::{MAX_NAME_LEN, Name};
pub use crate::record::{Answer, Record, encode};
pub use crate::store::Store;
pub use crate::table::Table;
pub use crate::transaction::{Committed, MAX_OPERATIONS, Transaction};
pub use crate::watch::{Change, ChangeKind, Closer, Event, Target, Watch};
