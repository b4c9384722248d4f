//! The commands that speak etcd's API live in another program, `etcd-console`, which needs gRPC. Here it is
//! built when it has to be, and everything is handed over to it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::advice::Failure;
use crate::cli::Forwarded;
use crate::context::Context;
use crate::exit::Exit;
use crate::{child, rebuild};

/// The profile that it is built in; see the workspace's Cargo.toml for why.
const PROFILE: &str = "console";

/// Runs `etcd-console NAME ARGS…`.
pub(crate) fn run(name: &str, args: &Forwarded, cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    let program = up_to_date(cx)?;
    let mut command = Command::new(program);
    child::become_program(command.args(settings(cx)?).arg(name).args(&args.args))
}

/// What it is told of the workspace, in hidden flags.
pub(crate) fn settings(cx: &Context) -> Result<Vec<OsString>> {
    let builder = cx.builder()?;
    let settings = builder.settings();
    let mut flags: Vec<OsString> = vec!["--home".into(), etcd_local::home(&cx.workspace).into()];
    let mut add = |name: &str, value: &str| flags.extend([name.into(), value.into()]);
    add("--root", &settings.root);
    add("--test-root", &settings.test_root);
    settings.protected.iter().for_each(|prefix| add("--protected", prefix));
    flags.extend(cx.output.is_quiet().then(|| "--quiet".into()));
    Ok(flags)
}

/// The program, built if it is missing or older than what it is made of.
pub(crate) fn up_to_date(cx: &Context) -> Result<PathBuf> {
    let dir = target_dir(cx)?.join(PROFILE);
    let program = dir.join(format!("etcd-console{}", std::env::consts::EXE_SUFFIX));
    let stamp = dir.join(".etcd-console-is-fresh");
    if program.is_file() && is_fresh(&stamp, &dir.join("etcd-console.d"), &cx.workspace) {
        return Ok(program);
    }
    if !program.is_file() {
        cx.output.note("building etcd-console, which speaks etcd's API; this happens once");
    }
    // Cargo draws its bar where we would, and in quiet mode only when told to.
    let progress = format!("term.progress.when='{}'", if cx.output.shows_progress() { "always" } else { "never" });
    let mut cargo = Command::new("cargo");
    cargo.args(["--config", &progress, "--config", "term.progress.width=80", "build", "--quiet"]);
    cargo.args(["--profile", PROFILE, "--package", "etcd-console"]).current_dir(&cx.workspace);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        return Err(Failure::of(
            "etcd-console could not be built",
            "`cargo xtask doctor` checks toolchain, linker and protoc",
        ));
    }
    fs::write(&stamp, "").with_context(|| format!("cannot write `{}`", stamp.display()))?;
    Ok(program)
}

/// Where cargo builds: this program lies in `<target>/<profile>/`.
fn target_dir(cx: &Context) -> Result<PathBuf> {
    if let Some(dir) = cx.env.path_var("CARGO_TARGET_DIR") {
        return Ok(dir);
    }
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(exe.parent().and_then(Path::parent).unwrap_or(&cx.workspace).to_owned())
}

/// Whether nothing that the program is made of is newer than the last build. Asking cargo would take longer
/// than most commands do; what it goes by, the sources in its dep-info and the manifests, is what we look at.
fn is_fresh(stamp: &Path, dep_info: &Path, workspace: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(stamp) else { return false };
    let Ok(text) = fs::read_to_string(dep_info) else { return false };
    let older = |path: &Path| modified(path).is_some_and(|time: SystemTime| time <= built);
    let manifests = ["Cargo.toml", "Cargo.lock", "crates/etcd-console/Cargo.toml", "crates/etcd-keys/Cargo.toml"];
    sources(&text).iter().all(|path| older(path)) && manifests.iter().all(|name| older(&workspace.join(name)))
}

/// The sources of a dep-info file, `program: source source …`, in which a space in a path is `\ `.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let Some((_, list)) = dep_info.lines().next().and_then(|line| line.split_once(": ")) else { return Vec::new() };
    let list = list.replace("\\ ", "\0");
    list.split(' ').filter(|path| !path.is_empty()).map(|path| PathBuf::from(path.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_may_have_spaces() {
        let text = "/t/etcd-console: /a b/src/main.rs /c.rs".replace("a b", "a\\ b");
        assert_eq!(sources(&text), [PathBuf::from("/a b/src/main.rs"), PathBuf::from("/c.rs")]);
        assert!(sources("").is_empty());
    }

    #[test]
    fn anything_newer_or_missing_means_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in
            ["Cargo.toml", "Cargo.lock", "crates/etcd-console/Cargo.toml", "crates/etcd-keys/Cargo.toml", "a.rs"]
        {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "").unwrap();
        }
        fs::write(path("d"), format!("x: {}", path("a.rs").display())).unwrap();
        let fresh = || is_fresh(&path("stamp"), &path("d"), dir.path());
        assert!(!fresh(), "never built");
        fs::write(path("stamp"), "").unwrap();
        assert!(fresh());
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(path("a.rs")).unwrap().set_modified(later).unwrap();
        assert!(!fresh(), "a source is newer");
        fs::remove_file(path("a.rs")).unwrap();
        assert!(!fresh(), "a source is gone");
    }
}
