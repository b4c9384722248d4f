//! Programs that are built when a command first needs them: they take long to build, and most commands do without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::advice::Failure;
use crate::context::Context;
use crate::protoc::{self, Effort};

/// How a program is built where it is built in a checkout; see its workspace's Cargo.toml for why.
#[derive(Clone, Copy)]
enum Profile {
    /// Optimised: it moves millions of keys. Shares nothing with other builds.
    Console,
    /// As the tests are built: what they have compiled is half of it.
    Dev,
}

/// The program of a package that lies beside this one, built if it is missing or older than what it is made of. One that
/// the environment names wins: `ETCD_CONSOLE` for `etcd-console`.
///
/// # Errors
/// If it cannot be built.
pub fn program(package: &str, cx: &Context) -> Result<PathBuf> {
    if let Some(program) = given(package, cx) {
        return Ok(program);
    }
    match Source::of(package) {
        Source::Checkout(manifest) => Checkout::new(package, manifest, Profile::Console, cx)?.up_to_date(cx),
        Source::Registry => installed(package, cx),
    }
}

/// As [`program`], for work that needs no speed: not optimised, if that one is not there already.
pub(crate) fn any_program(package: &str, cx: &Context) -> Result<PathBuf> {
    if let Some(program) = given(package, cx) {
        return Ok(program);
    }
    let Source::Checkout(manifest) = Source::of(package) else { return installed(package, cx) };
    let fast = Checkout::new(package, manifest.clone(), Profile::Console, cx)?;
    if fast.is_fresh() {
        return Ok(fast.program);
    }
    Checkout::new(package, manifest, Profile::Dev, cx)?.up_to_date(cx)
}

/// The program that the environment names, as `ETCD_CONSOLE` does for `etcd-console`: where nothing is to be built.
fn given(package: &str, cx: &Context) -> Option<PathBuf> {
    cx.env.path_var(&package.to_uppercase().replace('-', "_"))
}

/// A program that is built from a checkout.
struct Checkout<'a> {
    package: &'a str,
    manifest: PathBuf,
    profile: Profile,
    target: PathBuf,
    program: PathBuf,
    /// Says when it was built.
    stamp: PathBuf,
}

impl<'a> Checkout<'a> {
    fn new(package: &'a str, manifest: PathBuf, profile: Profile, cx: &Context) -> Result<Self> {
        let target = target_dir(cx)?;
        let dir = target.join(match profile {
            Profile::Console => "console",
            Profile::Dev => "debug",
        });
        let program = dir.join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
        let stamp = dir.join(format!(".{package}-is-fresh"));
        Ok(Self { package, manifest, profile, target, program, stamp })
    }

    fn is_fresh(&self) -> bool {
        self.program.is_file() && is_fresh(&self.stamp, &self.program.with_extension("d"), &self.manifest)
    }

    fn up_to_date(self, cx: &Context) -> Result<PathBuf> {
        if self.is_fresh() {
            return Ok(self.program);
        }
        let began = SystemTime::now();
        let mut cargo = cargo(self.package, &self.program, cx);
        cargo.args(["build", "--manifest-path"]).arg(&self.manifest).arg("--target-dir").arg(&self.target);
        if matches!(self.profile, Profile::Console) {
            cargo.args(["--profile", "console"]);
        }
        built(self.package, &mut cargo)?;
        // What changes while cargo works is newer.
        fs::write(&self.stamp, "")
            .and_then(|()| fs::File::options().write(true).open(&self.stamp)?.set_modified(began))
            .with_context(|| format!("cannot write `{}`", self.stamp.display()))?;
        Ok(self.program)
    }
}

/// A program that is installed from the Cargo registry, in the version of this crate.
fn installed(package: &str, cx: &Context) -> Result<PathBuf> {
    let target = target_dir(cx)?;
    let root = target.join(format!("{package}-{VERSION}"));
    let program = root.join("bin").join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        let mut cargo = cargo(package, &program, cx);
        cargo.args(["install", package, "--locked", "--no-track", "--version", &format!("={VERSION}")]);
        built(package, cargo.arg("--root").arg(root).arg("--target-dir").arg(&target))?;
    }
    Ok(program)
}

/// Their version, which is ours.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a program's source is.
enum Source {
    /// Beside this crate's own, where that is a checkout: its manifest.
    Checkout(PathBuf),
    /// In the Cargo registry, from where this crate came, too.
    Registry,
}

impl Source {
    fn of(package: &str) -> Self {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(package).join("Cargo.toml");
        if beside.is_file() { Self::Checkout(beside) } else { Self::Registry }
    }
}

/// A call of cargo that builds a program. Cargo draws its bar where we would, and in quiet mode only when told to.
fn cargo(package: &str, program: &Path, cx: &Context) -> Command {
    if !program.is_file() {
        cx.output.note(format_args!("building {package} for commands like this one; this happens once"));
    }
    protoc::provide(cx, Effort::Full);
    let progress = format!("term.progress.when='{}'", if cx.output.shows_progress() { "always" } else { "never" });
    let mut cargo = Command::new("cargo");
    cargo.args(["--quiet", "--config", &progress, "--config", "term.progress.width=80"]).current_dir(&cx.workspace);
    protoc::lead(&mut cargo, cx);
    cargo
}

fn built(package: &str, cargo: &mut Command) -> Result<()> {
    if cargo.status().context("cannot run cargo")?.success() {
        return Ok(());
    }
    Err(Failure::of(
        format!("{package} could not be built"),
        "`cargo xtask doctor` checks toolchain, linker and protoc",
    ))
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
