//! `[workspace.metadata.etcd]` as it is written. What a value cannot be is told in the user's terms, whatever its type.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use semver::VersionReq;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny};

use super::Port;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default, expecting = "a table")]
pub(super) struct Table {
    #[serde(deserialize_with = "version")]
    pub(super) version: Option<VersionReq>,
    #[serde(deserialize_with = "prefix")]
    pub(super) root: Option<String>,
    #[serde(deserialize_with = "segment")]
    pub(super) test_root: Option<String>,
    #[serde(deserialize_with = "port")]
    pub(super) port: Option<Port>,
    #[serde(deserialize_with = "port")]
    pub(super) peer_port: Option<Port>,
    #[serde(deserialize_with = "path")]
    pub(super) data_dir: Option<PathBuf>,
    #[serde(deserialize_with = "seconds")]
    pub(super) start_timeout: Option<Duration>,
    #[serde(deserialize_with = "prefixes")]
    pub(super) protected: Vec<String>,
}

/// The table of a manifest, or what is wrong with it, and where.
pub(super) fn parse(manifest: &str) -> Result<Table, String> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        workspace: Workspace,
    }
    #[derive(Default, Deserialize)]
    #[serde(expecting = "a table")]
    struct Workspace {
        #[serde(default)]
        metadata: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(expecting = "a table")]
    struct Metadata {
        #[serde(default)]
        etcd: Table,
    }

    let manifest: Manifest = etcd_workspace::parse_manifest(manifest)?;
    Ok(manifest.workspace.metadata.etcd)
}

/// A value of any type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Table(BTreeMap<String, IgnoredAny>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(_) => f.write_str("[…]"),
            Self::Table(entries) => f.write_str(if entries.is_empty() { "{}" } else { "{…}" }),
        }
    }
}

/// That a value is not what the setting takes.
fn is_not<T, E: Error>(value: &Value, wanted: &str) -> Result<T, E> {
    Err(E::custom(format_args!("`{value}` is not {wanted}")))
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<VersionReq>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match (&value, VersionReq::parse(&value.to_string())) {
        (Value::Text(_), Ok(requirement)) => Ok(Some(requirement)),
        (Value::Integer(_) | Value::Float(_), Ok(_)) => is_not(&value, &format!("a text: write `\"{value}\"`")),
        _ => is_not(&value, "a version requirement like `^3.6`"),
    }
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Port>, D::Error> {
    Value::deserialize(deserializer)?.to_string().parse().map(Some).map_err(D::Error::custom)
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Text(text) if !text.is_empty() => Ok(Some(text.into())),
        other => is_not(&other, "a path"),
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Integer(number @ 1..) => Ok(Some(Duration::from_secs(number.unsigned_abs()))),
        other => is_not(&other, "a valid number of seconds, like `30`"),
    }
}

fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    checked_prefix(&Value::deserialize(deserializer)?).map(Some)
}

fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::List(prefixes) => prefixes.iter().map(checked_prefix).collect(),
        other => is_not(&other, "a list of key prefixes like `[\"/Product/v1\"]`"),
    }
}

/// `/A/b`: begins with a slash, at least one segment, none of them empty or made of dots.
fn checked_prefix<E: Error>(value: &Value) -> Result<String, E> {
    if let Value::Text(text) = value {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if trimmed.strip_prefix('/').unwrap_or_default().split('/').all(is_segment) {
            return Ok(trimmed.to_owned());
        }
    }
    is_not(value, "a key prefix like `/Product/v1`")
}

fn segment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if let Value::Text(text) = &value {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if is_segment(trimmed) && !trimmed.contains('/') {
            return Ok(Some(trimmed.to_owned()));
        }
    }
    is_not(&value, "one segment below `root`, like `Test`")
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().any(|c| c != '.') && !text.chars().any(char::is_control)
}
