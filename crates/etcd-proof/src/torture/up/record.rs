//! Keys through etcd's JSON gateway, one of them everybody's, and the ports that a record names. Keys and values are
//! base64 there.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use etcd_local::{Record, Status};

/// `key`.
const KEY: &str = "a2V5";

pub(super) fn put(status: &Status, value: &str) -> Result<()> {
    put_to(status, KEY, value)
}

/// The value that [`put`] wrote.
pub(super) fn get(status: &Status) -> Result<Option<String>> {
    get_from(status, KEY)
}

/// Returns when it is acknowledged.
pub(super) fn put_to(status: &Status, key: &str, value: &str) -> Result<()> {
    call(status, "kv/put", format!(r#"{{"key":"{key}","value":"{value}"}}"#)).map(drop)
}

pub(super) fn get_from(status: &Status, key: &str) -> Result<Option<String>> {
    let answer = call(status, "kv/range", format!(r#"{{"key":"{key}"}}"#))?;
    Ok(answer.pointer("/kvs/0/value").and_then(|value| value.as_str()).map(str::to_owned))
}

fn call(status: &Status, path: &str, body: String) -> Result<serde_json::Value> {
    let endpoint = status.endpoints.first().context("there is no endpoint")?;
    let answer = minreq::post(format!("{endpoint}/v3/{path}")).with_body(body).with_timeout(10).send()?;
    let text = answer.as_str().unwrap_or_default();
    ensure!(answer.status_code == 200, "{path} was answered with {}: {text}", answer.status_code);
    Ok(serde_json::from_str(text)?)
}

/// The client port and the peer port of the record in an instance's directory, if there is one by now.
pub(super) fn ports(instance: &Path) -> Option<(u16, u16)> {
    let record: Record = serde_json::from_slice(&std::fs::read(instance.join("instance.json")).ok()?).ok()?;
    let port = |url: &str| url.rsplit_once(':')?.1.parse().ok();
    Some((port(record.endpoints.first()?)?, port(&record.peer_url)?))
}
