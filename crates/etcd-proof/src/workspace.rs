//! What the private workspaces of benches and tortures share: their files, the environment of commands in them, free
//! ports, and single keys by etcd's JSON gateway. What each calls there is in `bench/workspace` and `torture/workspace`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// The product's root in the workspaces that are created here.
pub(crate) const ROOT: &str = "/Inventory/v1";

/// Creates a workspace whose etcd chooses its ports.
pub(crate) fn create(dir: &Path) -> Result<()> {
    let tmp = temporary_files(dir);
    fs::create_dir_all(&tmp).with_context(|| format!("cannot create `{}`", tmp.display()))?;
    let manifest = format!("[workspace]\n\n[workspace.metadata.etcd]\nroot = \"{ROOT}\"\nport = \"auto\"\n");
    Ok(fs::write(dir.join("Cargo.toml"), manifest)?)
}

/// Where a workspace's temporary files go, those of ephemeral etcds among them.
fn temporary_files(dir: &Path) -> PathBuf {
    dir.join("tmp")
}

/// Has a command run in a workspace, as if cargo had started it there.
pub(crate) fn enter(command: &mut Command, dir: &Path) {
    command.current_dir(dir).env("CARGO_MANIFEST_DIR", dir).env("TMPDIR", temporary_files(dir));
}

/// Removes what the user's environment says about etcd. Variables that say where programs come from stay.
pub(crate) fn remove_settings(command: &mut Command) {
    const SOURCES: [&str; 3] = ["ETCD_CONSOLE", "ETCD_LOCAL_CACHE", "ETCD_RELEASE_MIRROR"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "NEXTEST_PROFILE" || text.starts_with("ETCD") && !SOURCES.contains(&&*text) {
            command.env_remove(&name);
        }
    }
}

/// A command line, for messages.
pub(crate) fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Two ports that are free now.
pub(crate) fn free_ports() -> Result<(u16, u16)> {
    free_ports_of_members(1)?.pop().context("no port is free")
}

/// The same for each of so many members.
pub(crate) fn free_ports_of_members(members: usize) -> Result<Vec<(u16, u16)>> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    // Held until all are found, so that none is found twice.
    let held = (0..members).map(|_| Ok((bind()?, bind()?))).collect::<Result<Vec<_>>>()?;
    held.iter().map(|(one, other)| Ok((one.local_addr()?.port(), other.local_addr()?.port()))).collect()
}

/// Writes a key; returns when etcd has acknowledged it.
pub(crate) fn put(endpoint: &str, key: &str, value: &str) -> Result<()> {
    request(endpoint, "kv/put", &json!({"key": BASE64.encode(key), "value": BASE64.encode(value)})).map(drop)
}

/// A key's value.
pub(crate) fn get(endpoint: &str, key: &str) -> Result<Option<String>> {
    let answer = request(endpoint, "kv/range", &json!({"key": BASE64.encode(key)}))?;
    let Some(value) = answer.pointer("/kvs/0/value") else { return Ok(None) };
    Ok(Some(String::from_utf8(BASE64.decode(value.as_str().unwrap_or_default())?)?))
}

/// Whether the member at this endpoint leads its cluster.
pub(crate) fn leads(endpoint: &str) -> Result<bool> {
    let status = request(endpoint, "maintenance/status", &json!({}))?;
    Ok(status.get("leader").is_some_and(|leader| status.pointer("/header/member_id") == Some(leader)))
}

fn request(endpoint: &str, path: &str, body: &Value) -> Result<Value> {
    let request = minreq::post(format!("{endpoint}/v3/{path}")).with_body(body.to_string()).with_timeout(10);
    let answer = request.send()?;
    let text = answer.as_str().unwrap_or_default();
    ensure!(answer.status_code == 200, "{path} was answered with {}: {text}", answer.status_code);
    Ok(serde_json::from_str(text)?)
}
