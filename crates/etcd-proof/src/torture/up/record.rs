//! One key through etcd's JSON gateway, and the ports that a record names. Keys and values are base64 there; `a2V5` is
//! `key`.

use std::path::Path;

use anyhow::{Context as _, Result};
use etcd_local::{Record, Status};

pub(super) fn put(status: &Status, value: &str) -> Result<()> {
    call(status, "kv/put", format!(r#"{{"key":"a2V5","value":"{value}"}}"#)).map(drop)
}

/// The value that [`put`] wrote.
pub(super) fn get(status: &Status) -> Result<Option<String>> {
    let answer = call(status, "kv/range", r#"{"key":"a2V5"}"#.to_owned())?;
    Ok(answer.pointer("/kvs/0/value").and_then(|value| value.as_str()).map(str::to_owned))
}

fn call(status: &Status, path: &str, body: String) -> Result<serde_json::Value> {
    let endpoint = status.endpoints.first().context("there is no endpoint")?;
    let answer = minreq::post(format!("{endpoint}/v3/{path}")).with_body(body).with_timeout(10).send()?;
    Ok(serde_json::from_slice(answer.as_bytes())?)
}

/// The client port and the peer port of the record in an instance's directory, if there is one by now.
pub(super) fn ports(instance: &Path) -> Option<(u16, u16)> {
    let record: Record = serde_json::from_slice(&std::fs::read(instance.join("instance.json")).ok()?).ok()?;
    let port = |url: &str| url.rsplit_once(':')?.1.parse().ok();
    Some((port(record.endpoints.first()?)?, port(&record.peer_url)?))
}
