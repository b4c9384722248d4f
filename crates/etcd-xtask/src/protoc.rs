//! A protoc for everybody who builds this workspace: plain cargo, IDEs and our own commands alike.
//!
//! `.cargo/config.toml` points PROTOC at the door `scripts/protoc`, which takes the protoc that the user has
//! on PATH, else the one whose path stands in `.etcd/.protoc`. Here that file is written, and the tool is
//! brought if there is none. On Windows the door is a copy of this program: see [`run_as_protoc`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use etcd_local::binary::is_whole_protoc;
use etcd_local::{Env, all_on_path, replace};

use crate::context::Context;
use crate::output;

/// What a command may do to have a protoc for later builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It answers from what is there, and should do so at once: what failed before is not tried again.
    LookOnly,
    /// It must not use the network.
    Offline,
    /// Bring one.
    Full,
}

/// Makes sure that a build finds a protoc. That there is none is no failure of the command at hand.
pub(crate) fn provide(cx: &Context, effort: Effort) {
    let Err(error) = open_door(cx, effort) else { return };
    cx.output.note(format_args!("note: there is no protoc for builds of etcd-client: {error:#}"));
    cx.output.note("hint: `cargo xtask doctor` tries again; a protoc on PATH or in PROTOC does, too");
}

fn open_door(cx: &Context, effort: Effort) -> Result<()> {
    let door = door(&cx.workspace);
    if cfg!(windows) && door.is_file() {
        copy_of_us(&door.with_extension("exe"))?;
    }
    // Cargo hands its [env] to this process, too: the door is not a protoc of the user's.
    let env = match cx.env.path_var("PROTOC") {
        Some(path) if path == door => cx.env.clone().without("PROTOC"),
        Some(_) => return Ok(()),
        None => cx.env.clone(),
    };
    if on_path(&cx.env, &door).is_some() {
        return Ok(());
    }
    let pointer = pointer(&cx.workspace);
    // Empty: there was none to be had.
    let in_vain = fs::read(&pointer).is_ok_and(|path| path.is_empty());
    if recorded(&cx.workspace).is_some() || (in_vain && effort == Effort::LookOnly) {
        return Ok(());
    }
    etcd_local::create_home(&cx.workspace)?;
    let binaries = cx.builder()?.offline(effort == Effort::Offline).environment(env).binaries();
    let protoc = binaries.protoc();
    let path = protoc.as_ref().map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    replace(&pointer, path).with_context(|| format!("cannot write `{}`", pointer.display()))?;
    protoc?;
    Ok(())
}

fn door(workspace: &Path) -> PathBuf {
    workspace.join("scripts").join("protoc")
}

fn pointer(workspace: &Path) -> PathBuf {
    etcd_local::home(workspace).join(".protoc")
}

/// The user's own protoc, which is not our door, and is whole.
fn on_path(env: &Env, door: &Path) -> Option<PathBuf> {
    let mut all = all_on_path(env, "protoc").into_iter().filter(|found| found.parent() != door.parent());
    all.find(|found| is_whole_protoc(found))
}

/// The protoc that a build takes: the one that PROTOC names, else the user's own, else the one that was brought.
pub(crate) fn found(cx: &Context) -> Option<PathBuf> {
    // As it stands: it may be a name.
    let named = cx.env.var_os("PROTOC").filter(|named| !named.is_empty()).map(PathBuf::from);
    named.or_else(|| on_path(&cx.env, &door(&cx.workspace))).or_else(|| recorded(&cx.workspace))
}

fn copy_of_us(door: &Path) -> Result<()> {
    if door.exists() {
        return Ok(());
    }
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    fs::read(&exe)
        .and_then(|program| replace(door, &program))
        .with_context(|| format!("cannot write `{}`", door.display()))
}

/// Leads a call of cargo to a protoc, also in a workspace that has no door, and keeps it off the network if need be.
pub(crate) fn lead(cargo: &mut Command, effort: Effort, cx: &Context) {
    if effort == Effort::Offline {
        cargo.env("CARGO_NET_OFFLINE", "true");
    }
    if let Some(protoc) = found(cx) {
        cargo.env("PROTOC", protoc);
    }
}

/// The protoc that was brought.
fn recorded(workspace: &Path) -> Option<PathBuf> {
    let path = path_of(fs::read(pointer(workspace)).ok()?.trim_ascii_end())?;
    path.is_file().then_some(path)
}

/// A path need not be text.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(bytes)).map(|path: &std::ffi::OsStr| path.into())
}

/// A path that is no text is brought anew each time.
#[cfg(windows)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// If this program runs under the name `protoc`, it is the door, and this does not return.
pub(crate) fn stand_in() {
    if let Some(code) = run_as_protoc() {
        std::process::exit(code);
    }
}

fn run_as_protoc() -> Option<i32> {
    let door = std::env::current_exe().ok()?;
    if door.file_stem()? != "protoc" {
        return None;
    }
    let brought = || recorded(door.parent()?.parent()?);
    let Some(protoc) = on_path(&Env::from_process().ok()?, &door).or_else(brought) else {
        output::say(format_args!("error: there is no protoc\nhint: `cargo xtask doctor` brings one"));
        return Some(1);
    };
    let status = Command::new(&protoc).args(std::env::args_os().skip(1)).status();
    Some(match status {
        Ok(status) => crate::exit::Exit::of_child(status).code(),
        Err(error) => {
            output::say(format_args!("error: cannot run `{}`: {error}", protoc.display()));
            1
        }
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_protoc_may_be_where_no_text_leads() {
        use std::os::unix::ffi::OsStrExt as _;

        let dir = tempfile::tempdir().unwrap();
        let protoc = dir.path().join(std::ffi::OsStr::from_bytes(b"b\xff/protoc"));
        fs::create_dir_all(protoc.parent().unwrap()).unwrap();
        fs::write(&protoc, "").unwrap();
        etcd_local::create_home(dir.path()).unwrap();
        replace(&pointer(dir.path()), protoc.as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(recorded(dir.path()), Some(protoc));
    }
}
