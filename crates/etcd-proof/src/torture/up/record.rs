//! One key that tells whether a server's data is still there, and the ports that an instance's record names.

use std::path::Path;

use anyhow::{Context as _, Result};
use etcd_local::{Record, Status};

use crate::workspace;

const KEY: &str = "key";

pub(super) fn put(status: &Status, value: &str) -> Result<()> {
    workspace::put(endpoint(status)?, KEY, value)
}

/// The value that [`put`] wrote.
pub(super) fn get(status: &Status) -> Result<Option<String>> {
    workspace::get(endpoint(status)?, KEY)
}

pub(super) fn endpoint(status: &Status) -> Result<&str> {
    Ok(status.endpoints.first().context("there is no endpoint")?)
}

/// The client port and the peer port of the record in an instance's directory, if there is a record.
pub(super) fn ports(instance: &Path) -> Option<(u16, u16)> {
    let record: Record = serde_json::from_slice(&std::fs::read(instance.join("instance.json")).ok()?).ok()?;
    let port = |url: &str| url.rsplit_once(':')?.1.parse().ok();
    Some((port(record.endpoints.first()?)?, port(&record.peer_url)?))
}
