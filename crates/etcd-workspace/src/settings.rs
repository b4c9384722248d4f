//! `[workspace.metadata.etcd]`: the settings of a workspace's `Cargo.toml`, each checked. An error names the value in the
//! user's terms, whatever its type. What the environment says, and most defaults, are for those who run an etcd.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use semver::VersionReq;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny};

use crate::client_config::{ClientConfig, ClientConfigError, ManifestCluster};
use crate::manifest::parse_manifest;
use crate::tls::TlsScope;

/// etcd's own default for clients.
pub const DEFAULT_PORT: u16 = 2379;
/// The test root where a manifest names none: one segment below the product's root.
pub const DEFAULT_TEST_ROOT: &str = "Test";
/// As many learners as an instance may have.
pub const MOST_LEARNERS: u8 = 8;

/// A workspace that does not say what its product's root is, where that must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this workspace has no `root`, the key prefix of its product")]
pub struct NoRoot;

impl NoRoot {
    /// What to do about it.
    pub const NEXT: &'static str =
        "add a line like `root = \"/my-product/v1\"` to `[workspace.metadata.etcd]` in the workspace's Cargo.toml";
}

/// A TCP port, or the wish for any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one or none.
    Fixed(u16),
    /// The one that the instance had last, if it is free, else any free one.
    Auto,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(port) if port != 0 => Ok(Self::Fixed(port)),
            _ => Err(format!("`{text}` is neither a port from 1 to 65535 nor `auto`")),
        }
    }
}

/// Who speaks TLS with an instance's servers, and with which certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSetting {
    /// These, with certificates that are made for the instance.
    Made(TlsScope),
    /// Clients, and the servers among each other if it has a certificate for them, with the certificates in this directory, as
    /// written: relative to the workspace, or absolute. See [`TlsFiles`](crate::TlsFiles).
    Dir(PathBuf),
}

/// A user of `[[workspace.metadata.etcd.users]]`, whose role has the same name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[non_exhaustive]
pub struct ManifestUser {
    /// The user's name.
    #[serde(deserialize_with = "user_name")]
    pub name: String,
    /// The prefixes that the user can read below, without trailing slashes.
    #[serde(default, deserialize_with = "prefixes")]
    pub read: Vec<String>,
    /// The prefixes that the user can read and write below, without trailing slashes.
    #[serde(default, deserialize_with = "prefixes")]
    pub write: Vec<String>,
}

/// What `[workspace.metadata.etcd]` says. A setting that is not there is `None`, or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default, expecting = "a table")]
#[non_exhaustive]
pub struct ManifestSettings {
    /// Which etcd to run.
    #[serde(deserialize_with = "version")]
    pub version: Option<VersionReq>,
    /// The product's key prefix, without a trailing slash.
    #[serde(deserialize_with = "prefix")]
    pub root: Option<String>,
    /// The test root, below `root`: one segment, without a trailing slash.
    #[serde(deserialize_with = "segment")]
    pub test_root: Option<String>,
    /// The client port of the instance `default`.
    #[serde(deserialize_with = "port")]
    pub port: Option<Port>,
    /// Its peer port.
    #[serde(deserialize_with = "port")]
    pub peer_port: Option<Port>,
    /// Where its data goes, as written: relative to the workspace, or absolute.
    #[serde(deserialize_with = "path")]
    pub data_dir: Option<PathBuf>,
    /// How long a start may take.
    #[serde(deserialize_with = "seconds")]
    pub start_timeout: Option<Duration>,
    /// More prefixes that no command deletes below, without trailing slashes.
    #[serde(deserialize_with = "prefixes")]
    pub protected: Vec<String>,
    /// Patterns of keys whose values are not shown in histories: `*` stands for any characters.
    #[serde(deserialize_with = "patterns")]
    pub redact: Vec<String>,
    /// Whether clients of this workspace's instances speak TLS, or their servers.
    #[serde(deserialize_with = "tls")]
    pub tls: Option<TlsSetting>,
    /// Whether authentication is on in this workspace's instances.
    #[serde(deserialize_with = "flag")]
    pub auth: bool,
    /// How many learners a new instance of several members has.
    #[serde(deserialize_with = "learners")]
    pub learners: usize,
    /// The users of an instance in which authentication is on, beside `root`.
    pub users: Vec<ManifestUser>,
    /// Where the reports of test runs go, as written: relative to the workspace, or absolute.
    #[serde(deserialize_with = "path")]
    pub report: Option<PathBuf>,
    /// Clusters elsewhere, by name.
    pub clusters: BTreeMap<String, ManifestCluster>,
}

impl ManifestSettings {
    /// The clusters that a manifest names, and its directory.
    ///
    /// # Errors
    /// [`ClientConfigError::Manifest`].
    pub fn clusters(path: &Path) -> Result<(BTreeMap<String, ManifestCluster>, PathBuf), ClientConfigError> {
        Ok((Self::read(path)?.clusters, path.parent().map(Path::to_owned).unwrap_or_default()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ClientConfigError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ClientConfigError> {
        let failed = |why| ClientConfigError::Manifest { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    /// Reads a manifest. Without the table, nothing is set.
    ///
    /// # Errors
    /// What is wrong with it, and in which line, on one line. A setting that does not exist is an error: a misspelt
    /// `protected` would protect nothing.
    pub fn parse(manifest: &str) -> Result<Self, String> {
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
            etcd: ManifestSettings,
        }

        let manifest: Manifest = parse_manifest(manifest)?;
        Ok(manifest.workspace.metadata.etcd)
    }
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

fn tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TlsSetting>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Flag(flag) => Ok(flag.then_some(TlsSetting::Made(TlsScope::CLIENTS))),
        Value::Text(text) if !text.is_empty() => Ok(Some(match text.parse() {
            Ok(scope) => TlsSetting::Made(scope),
            Err(_) => TlsSetting::Dir(text.into()),
        })),
        other => {
            is_not(&other, "`true`, `false`, `\"client\"`, `\"peer\"`, `\"all\"`, or a directory with certificates")
        }
    }
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Flag(flag) => Ok(flag),
        other => is_not(&other, "`true` or `false`"),
    }
}

/// It is also the name of a file.
fn user_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match Value::deserialize(deserializer)? {
        Value::Text(text) if !text.is_empty() && text.chars().all(is_plain) && text != ClientConfig::ROOT => Ok(text),
        other => is_not(&other, "a user's name: letters, digits, `-` and `_`; `root` is always there"),
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Integer(number @ 1..) => Ok(Some(Duration::from_secs(number.unsigned_abs()))),
        other => is_not(&other, "a valid number of seconds, like `30`"),
    }
}

fn learners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Integer(number) if (0..=MOST_LEARNERS.into()).contains(&number) => {
            Ok(usize::try_from(number).unwrap_or_default())
        }
        other => is_not(&other, &format!("a number of learners, from 0 to {MOST_LEARNERS}")),
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

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::List(patterns) => patterns.iter().map(checked_pattern).collect(),
        other => is_not(&other, "a list of patterns of keys like `[\"*/password\"]`"),
    }
}

fn checked_pattern<E: Error>(value: &Value) -> Result<String, E> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        _ => is_not(value, "a pattern of keys like `*/password`"),
    }
}

fn checked_prefix<E: Error>(value: &Value) -> Result<String, E> {
    match value {
        Value::Text(text) if is_prefix(text) => Ok(text.strip_suffix('/').unwrap_or(text).to_owned()),
        _ => is_not(value, "a key prefix like `/Product/v1`"),
    }
}

fn segment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Text(text) if is_segment(&text) => Ok(Some(text.strip_suffix('/').unwrap_or(&text).to_owned())),
        other => is_not(&other, "one segment below `root`, like `Test`"),
    }
}

/// Whether this can be a product's root, or be protected: like `/Product/v1`, no segment empty or made of dots. A slash at
/// the end makes no difference.
#[must_use]
pub fn is_prefix(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    text.strip_prefix('/').unwrap_or_default().split('/').all(is_plain)
}

/// Whether this can be a test root: one segment like `Test`, not empty or made of dots. A slash at the end makes no
/// difference.
#[must_use]
pub fn is_segment(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    is_plain(text) && !text.contains('/')
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && segment.chars().any(|c| c != '.') && !segment.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> Result<ManifestSettings, String> {
        ManifestSettings::parse(&format!("[workspace]\n[workspace.metadata.etcd]\n{lines}"))
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        for (lines, complaint) in [
            ("port = 0", "neither a port"),
            ("port = 70000", "neither a port"),
            ("port = 'some'", "neither a port"),
            ("start-timeout = 0", "not a valid number of seconds"),
            ("root = ''", "not a key prefix"),
            ("root = '/'", "not a key prefix"),
            ("root = 'Product'", "not a key prefix"),
            ("root = '/a//b'", "not a key prefix"),
            ("root = '/a/..'", "not a key prefix"),
            ("test-root = ''", "not one segment"),
            ("test-root = '/'", "not one segment"),
            ("test-root = '..'", "not one segment"),
            ("test-root = 'a/b'", "not one segment"),
            ("protected = ['x']", "not a key prefix"),
            ("protekted = ['/x']", "unknown field"),
            ("clusters.ci.password = 'x'", "unknown field `password`"),
            ("clusters.ci = 1", "expected a table"),
            // Values of another type than the setting's.
            ("port = 2379.5", "`2379.5` is neither a port"),
            ("port = -1", "`-1` is neither a port"),
            ("port = true", "`true` is neither a port"),
            ("peer-port = [2380]", "`[…]` is neither a port"),
            ("version = 3.6", "`3.6` is not a text: write `\"3.6\"`"),
            ("version = 3", "`3` is not a text: write `\"3\"`"),
            ("version = ['3.6']", "`[…]` is not a version requirement like `^3.6`"),
            ("version = 'new'", "`new` is not a version requirement like `^3.6`"),
            ("root = 1", "`1` is not a key prefix"),
            ("test-root = true", "`true` is not one segment"),
            ("data-dir = 1", "`1` is not a path"),
            ("data-dir = ''", "`` is not a path"),
            ("tls = 1", "`1` is not `true`, `false`, `\"client\"`"),
            ("tls = ''", "`` is not `true`, `false`, `\"client\"`"),
            ("auth = 1", "`1` is not `true` or `false`"),
            ("learners = 9", "`9` is not a number of learners"),
            ("users = [{ name = 'a/b' }]", "`a/b` is not a user's name"),
            ("users = [{ name = 'root' }]", "`root` is not a user's name"),
            ("users = [{ name = 'a', write = ['b'] }]", "`b` is not a key prefix"),
            ("users = [{ name = 'a', role = 'b' }]", "unknown field `role`"),
            ("users = [{ read = [] }]", "missing field `name`"),
            ("start-timeout = 1.5", "`1.5` is not a valid number of seconds"),
            ("start-timeout = '30s'", "`30s` is not a valid number of seconds"),
            ("start-timeout = -1", "`-1` is not a valid number of seconds"),
            ("protected = '/x'", "`/x` is not a list of key prefixes"),
            ("protected = [1]", "`1` is not a key prefix"),
            ("redact = '*/password'", "`*/password` is not a list of patterns"),
            ("redact = ['']", "`` is not a pattern of keys"),
            ("report = true", "`true` is not a path"),
        ] {
            let error = table(lines).unwrap_err();
            assert!(error.contains(complaint) && error.contains("line "), "{lines}: {error}");
            assert!(["enum", "struct", "variant", "u64"].iter().all(|word| !error.contains(word)), "{lines}: {error}");
        }
        for manifest in ["workspace = 1", "[workspace]\nmetadata = 1", "[workspace.metadata]\netcd = '3.6'"] {
            let error = ManifestSettings::parse(manifest).unwrap_err();
            assert!(error.contains("expected a table") && !error.contains("struct"), "{manifest}: {error}");
        }
    }
}
