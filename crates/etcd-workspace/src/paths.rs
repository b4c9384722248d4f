//! Where a workspace keeps its instances, what their files are called, and which schema the record has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The record's file name, in the instance's directory.
pub const RECORD: &str = "instance.json";

/// The variable that names the directory in which a workspace keeps its instances, instead of its own `.etcd`.
pub const STATE: &str = "ETCD_LOCAL_STATE";

/// The directory in which a workspace's instances live, one directory each: `.etcd`, or what the variable [`STATE`] says
/// if it is set. A relative path is taken from the workspace.
#[must_use]
pub fn home(workspace: &Path, state: Option<&OsStr>) -> PathBuf {
    workspace.join(state.filter(|dir| !dir.is_empty()).unwrap_or(OsStr::new(".etcd")))
}

/// The lock that an instance's server holds as long as it lives.
#[must_use]
pub fn member_lock(dir: &Path) -> PathBuf {
    dir.join("member.lock")
}

/// The lock that admits one change of an instance at a time.
#[must_use]
pub fn operation_lock(dir: &Path) -> PathBuf {
    dir.join("op.lock")
}

/// The version of the record's shape for an instance of one member without TLS and users.
pub const SCHEMA: u32 = 1;

/// The version of the record's shape for an instance of several members, or with TLS or users: its endpoints alone do
/// not lead to it. A file with a larger one is left alone.
pub const SCHEMA_2: u32 = 2;
