//! What `etcd-binary` and `etcd-local` need of the operating system: files, locks, processes, helper programs, waiting.
//! Knows neither etcd's behaviour nor instances. For these two crates only: no promise is made to others.

#![expect(missing_docs, reason = "internal to this workspace's crates")]

pub mod command;
pub mod env;
pub mod file;
pub mod lock;
pub mod os;
pub mod process;
pub mod random;
pub mod wait;
