//! A protoc for builds of this workspace: of our own commands, of plain cargo, and of IDEs.
//!
//! Plain cargo finds one by a line in `.cargo/config.toml` that points PROTOC at a launcher:
//!
//! ```toml
//! [env]
//! PROTOC = { value = ".etcd/protoc", relative = true }
//! ```
//!
//! The launcher runs the user's protoc on PATH, else the one whose path is in `.etcd/.protoc`. This module writes both files if
//! they are missing, and installs a protoc if there is none. On Windows the launcher is a copy
//! of this program: see [`run_as_protoc`].

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};

use anyhow::{Context as _, Result};
use etcd_local::binary::is_whole_protoc;
use etcd_local::{Env, all_on_path, replace};

use crate::cli::NetworkPolicy;
use crate::context::Context;
use crate::output;

/// The launcher, where it is a script.
const SCRIPT: &str = include_str!("protoc.sh");

/// The line that leads plain cargo to the launcher.
pub(crate) const LINE: &str = r#"PROTOC = { value = ".etcd/protoc", relative = true }"#;

/// Makes sure that a build finds a protoc. Tried once per process. Without a protoc, the command goes on, because its build may
/// not need one.
pub(crate) fn provide(cx: &Context, network: NetworkPolicy) {
    static TRIED: Once = Once::new();
    TRIED.call_once(|| {
        if let Err(error) = bring(cx, network) {
            cx.output.note(format_args!("note: there is no protoc for builds of etcd-client: {error:#}"));
            cx.output.note("hint: `cargo xtask doctor` tries again; or install a protoc on PATH, or set PROTOC");
        }
    });
}

fn bring(cx: &Context, network: NetworkPolicy) -> Result<()> {
    if let Some(launcher) = launcher(cx) {
        write_launcher(&launcher).or_else(|error| if is_read_only(&error) { Ok(()) } else { Err(error) })?;
    }
    if users(cx).is_some() || on_path(cx).is_some() || recorded(&cx.workspace).is_some() {
        return Ok(());
    }
    // Cargo hands its [env] to this process, too: the launcher is not a protoc of the user's.
    let env = cx.env.clone().without("PROTOC");
    let path = cx.builder()?.offline(network == NetworkPolicy::Offline).environment(env).binaries().protoc()?;
    let pointer = pointer(&cx.workspace);
    let record = || -> Result<()> {
        create_own_home(&cx.workspace)?;
        Ok(replace(&pointer, path.as_os_str().as_encoded_bytes())?)
    };
    match record() {
        // Plain cargo will not find the protoc, but this command's build will.
        Err(error) if is_read_only(&error) => {
            let _ = UNRECORDED.set(path);
            Ok(())
        }
        recorded => recorded.with_context(|| format!("cannot write `{}`", pointer.display())),
    }
}

/// A protoc that was installed for a workspace that is not writable.
static UNRECORDED: OnceLock<PathBuf> = OnceLock::new();

fn is_read_only(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    kinds.into_iter().any(|kind| kind == ErrorKind::ReadOnlyFilesystem)
}

/// The path of PROTOC in Cargo's configuration, if our launcher is there or should be there.
fn launcher(cx: &Context) -> Option<PathBuf> {
    let path = PathBuf::from(configured(cx)?);
    let is_ours = match fs::read_to_string(&path) {
        Ok(text) => text.contains(".etcd/.protoc"),
        Err(error) => error.kind() == ErrorKind::NotFound && path.starts_with(&cx.workspace),
    };
    (is_ours && path.file_name()? == "protoc").then_some(path)
}

/// A launcher that exists is not overwritten.
fn write_launcher(path: &Path) -> Result<()> {
    let file = if cfg!(windows) { path.with_extension("exe") } else { path.to_owned() };
    if file.exists() {
        return Ok(());
    }
    let write = || -> Result<()> {
        let dir = path.parent().unwrap_or(path);
        // `.etcd` is only for this user, and not in git.
        match dir.parent().filter(|above| own_home(above) == dir) {
            Some(workspace) => drop(create_own_home(workspace)?),
            None => fs::create_dir_all(dir)?,
        }
        if cfg!(windows) {
            let exe = std::env::current_exe().context("cannot find this program's own file")?;
            return Ok(replace(&file, &fs::read(exe)?)?);
        }
        replace(&file, SCRIPT.as_bytes())?;
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(())
    };
    write().with_context(|| format!("cannot write `{}`", file.display()))
}

/// `.etcd` of the workspace itself, whatever ETCD_LOCAL_STATE says: that is where plain cargo's launcher looks.
fn own_home(workspace: &Path) -> PathBuf {
    etcd_local::home(workspace, &Env::empty(workspace))
}

fn create_own_home(workspace: &Path) -> Result<PathBuf> {
    Ok(etcd_local::create_home(workspace, &Env::empty(workspace))?)
}

fn pointer(workspace: &Path) -> PathBuf {
    own_home(workspace).join(".protoc")
}

/// PROTOC as cargo sets it for builds in this workspace.
fn configured(cx: &Context) -> Option<OsString> {
    cx.env.configured_var_os("PROTOC", &cx.workspace)
}

/// The value of PROTOC, if it is not our launcher. It may be a name without a path.
fn users(cx: &Context) -> Option<OsString> {
    let named = cx.env.var_os("PROTOC").map(ToOwned::to_owned).or_else(|| configured(cx))?;
    let same = |launcher: &PathBuf| *launcher == *named || is_same(launcher, Path::new(&named));
    launcher(cx).filter(same).is_none().then_some(named)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The user's own protoc, if it is complete. Skips our launcher, whose directory may be on PATH.
fn on_path(cx: &Context) -> Option<PathBuf> {
    whole_on_path(&cx.env, launcher(cx).as_deref().and_then(Path::parent))
}

fn whole_on_path(env: &Env, but_not_in: Option<&Path>) -> Option<PathBuf> {
    let mut all = all_on_path(env, "protoc").into_iter().filter(|found| found.parent() != but_not_in);
    all.find(|found| is_whole_protoc(found))
}

/// The protoc for a build: the one in PROTOC, else the user's own, else the installed one.
pub(crate) fn found(cx: &Context) -> Option<PathBuf> {
    users(cx)
        .map(PathBuf::from)
        .or_else(|| on_path(cx))
        .or_else(|| recorded(&cx.workspace))
        .or_else(|| UNRECORDED.get().cloned())
}

/// Whether plain cargo finds a protoc in this workspace. It uses the first on PATH, complete or not.
pub(crate) fn is_found_by_plain_cargo(cx: &Context) -> bool {
    let first = || all_on_path(&cx.env, "protoc").into_iter().next();
    users(cx).is_some() || launcher(cx).is_some() || first().is_some_and(|first| is_whole_protoc(&first))
}

/// Sets PROTOC for a program that may build, only if plain cargo would not find a protoc: cargo rebuilds dependents whenever
/// PROTOC changes.
pub(crate) fn lead(command: &mut Command, cx: &Context) {
    if !is_found_by_plain_cargo(cx)
        && let Some(protoc) = found(cx)
    {
        command.env("PROTOC", protoc);
    }
}

/// The same for a cargo that this program calls, without network if required.
pub(crate) fn lead_cargo(cargo: &mut Command, network: NetworkPolicy, cx: &Context) {
    if network == NetworkPolicy::Offline {
        cargo.env("CARGO_NET_OFFLINE", "true");
    }
    lead(cargo, cx);
}

/// The installed protoc.
fn recorded(workspace: &Path) -> Option<PathBuf> {
    let path = path_of(fs::read(pointer(workspace)).ok()?.trim_ascii_end())?;
    path.is_file().then_some(path)
}

/// A path may not be valid UTF-8.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(bytes)).map(|path: &std::ffi::OsStr| path.into())
}

/// A path that is not valid UTF-8 is searched again each time.
#[cfg(windows)]
fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// If this program runs under the name `protoc`, it is the launcher, and this does not return.
pub(crate) fn stand_in() {
    if let Some(code) = run_as_protoc() {
        std::process::exit(code);
    }
}

fn run_as_protoc() -> Option<i32> {
    let launcher = std::env::current_exe().ok()?;
    if launcher.file_stem()? != "protoc" {
        return None;
    }
    let brought = || launcher.ancestors().find_map(recorded);
    let Some(protoc) = whole_on_path(&Env::from_process().ok()?, launcher.parent()).or_else(brought) else {
        output::say(format_args!("error: there is no protoc\nhint: `cargo xtask doctor` installs one"));
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
        create_own_home(dir.path()).unwrap();
        replace(&pointer(dir.path()), protoc.as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(recorded(dir.path()), Some(protoc));
    }
}
