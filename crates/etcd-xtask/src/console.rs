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
use crate::protoc::{self, Effort};
use crate::{child, rebuild};

/// The profile that it is built in, where it is built in a checkout; see its workspace's Cargo.toml for why.
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
///
/// # Errors
/// If it cannot be built.
pub fn up_to_date(cx: &Context) -> Result<PathBuf> {
    let name = format!("etcd-console{}", std::env::consts::EXE_SUFFIX);
    let target = target_dir(cx)?;
    match Source::find() {
        Source::Checkout(manifest) => {
            let dir = target.join(PROFILE);
            let (program, stamp) = (dir.join(name), dir.join(".etcd-console-is-fresh"));
            if program.is_file() && is_fresh(&stamp, &dir.join("etcd-console.d"), &manifest) {
                return Ok(program);
            }
            let mut cargo = cargo(cx, &program);
            cargo.args(["build", "--profile", PROFILE, "--manifest-path"]).arg(manifest);
            built(cargo.arg("--target-dir").arg(&target))?;
            fs::write(&stamp, "").with_context(|| format!("cannot write `{}`", stamp.display()))?;
            Ok(program)
        }
        Source::Registry => {
            let root = target.join(format!("etcd-console-{VERSION}"));
            let program = root.join("bin").join(name);
            if !program.is_file() {
                let mut cargo = cargo(cx, &program);
                cargo.args(["install", "etcd-console", "--locked", "--no-track", "--version", &format!("={VERSION}")]);
                built(cargo.arg("--root").arg(root).arg("--target-dir").arg(&target))?;
            }
            Ok(program)
        }
    }
}

/// Its version, which is ours.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the program's source is.
enum Source {
    /// Beside this crate's own, where that is a checkout: its manifest.
    Checkout(PathBuf),
    /// In the Cargo registry, from where this crate came, too.
    Registry,
}

impl Source {
    fn find() -> Self {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("etcd-console").join("Cargo.toml");
        if beside.is_file() { Self::Checkout(beside) } else { Self::Registry }
    }
}

/// A call of cargo that builds the program. Cargo draws its bar where we would, and in quiet mode only when told to.
fn cargo(cx: &Context, program: &Path) -> Command {
    if !program.is_file() {
        cx.output.note("building etcd-console, which speaks etcd's API; this happens once");
    }
    protoc::provide(cx, Effort::Full);
    let progress = format!("term.progress.when='{}'", if cx.output.shows_progress() { "always" } else { "never" });
    let mut cargo = Command::new("cargo");
    cargo.args(["--quiet", "--config", &progress, "--config", "term.progress.width=80"]).current_dir(&cx.workspace);
    protoc::lead(&mut cargo, cx);
    cargo
}

fn built(cargo: &mut Command) -> Result<()> {
    if cargo.status().context("cannot run cargo")?.success() {
        return Ok(());
    }
    Err(Failure::of("etcd-console could not be built", "`cargo xtask doctor` checks toolchain, linker and protoc"))
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
/// than most commands do; what it goes by, the sources in its dep-info and their manifests, is what we look at.
fn is_fresh(stamp: &Path, dep_info: &Path, manifest: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(stamp) else { return false };
    let Ok(text) = fs::read_to_string(dep_info) else { return false };
    let older = |path: &Path| modified(path).is_some_and(|time: SystemTime| time <= built);
    let sources = sources(&text);
    // `<crate>/src/…` is a crate's; the workspace's own two are above ours.
    let of_crate =
        |path: &PathBuf| Some(path.ancestors().find(|dir| dir.ends_with("src"))?.with_file_name("Cargo.toml"));
    let mut manifests: Vec<PathBuf> = sources.iter().filter_map(of_crate).collect();
    manifests.dedup();
    let root = manifest.ancestors().nth(3).unwrap_or(manifest);
    let of_workspace = ["Cargo.toml", "Cargo.lock"].map(|name| root.join(name));
    sources.iter().chain(&manifests).chain(&of_workspace).all(|path| older(path))
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
        let (manifest, source) = (path("crates/console/Cargo.toml"), path("crates/keys/src/a.rs"));
        for file in [&path("Cargo.toml"), &path("Cargo.lock"), &manifest, &path("crates/keys/Cargo.toml"), &source] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::write(path("d"), format!("x: {}", source.display())).unwrap();
        let fresh = || is_fresh(&path("stamp"), &path("d"), &manifest);
        assert!(!fresh(), "never built");
        fs::write(path("stamp"), "").unwrap();
        assert!(fresh());
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        for file in [path("crates/keys/Cargo.toml"), path("Cargo.lock"), source.clone()] {
            let touch = |time| fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            touch(later);
            assert!(!fresh(), "{} is newer", file.display());
            touch(SystemTime::UNIX_EPOCH);
            assert!(fresh());
        }
        fs::remove_file(&source).unwrap();
        assert!(!fresh(), "a source is gone");
    }
}
