//! Builds programs when a command first needs them, because they take long to build and most commands do not need them.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use etcd_local::NotYours;
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

use crate::build::protoc;
use crate::child::Interrupts;
use crate::cli::NetworkPolicy;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{AlreadyReported, Failure};

/// How long to wait for cargo's last output after it has ended.
const LAST_WORD: Duration = Duration::from_secs(5);

/// The program of a package beside this one. Built if it is missing or older than its sources. A program in the environment
/// has priority: `ETCD_CONSOLE` for `etcd-console`.
///
/// # Errors
/// If it cannot be built.
pub fn program(package: &str, cx: &Context) -> Result<PathBuf> {
    program_within(NetworkPolicy::Online, package, cx)
}

/// As [`program`], for commands that take `--offline`.
pub(crate) fn program_within(network: NetworkPolicy, package: &str, cx: &Context) -> Result<PathBuf> {
    if let Some(program) = given(package, cx) {
        return Ok(program);
    }
    match manifest(package, cx) {
        Some(manifest) => Checkout::new(package, manifest, cx)?.up_to_date(network, cx),
        None => installed(package, network, cx),
    }
}

/// The program, if [`program`] would not have to build it.
pub(crate) fn if_built(package: &str, cx: &Context) -> Option<PathBuf> {
    let in_checkout = || Checkout::new(package, manifest(package, cx)?, cx).ok()?.fresh();
    let installed = || Some(installation(package, &target_dir(cx).ok()?).1).filter(|program| program.is_file());
    given(package, cx).or_else(in_checkout).or_else(installed)
}

/// Records that a build of the workspace's tests, which began at `began`, has also built the program. This is so in a checkout,
/// where the program's own tests need it. If this cannot be recorded, the program is built again when needed.
pub(crate) fn built_with_tests(package: &str, began: SystemTime, cx: &Context) {
    let Some(manifest) = manifest(package, cx).filter(|manifest| root(manifest) == cx.workspace) else { return };
    let Ok(checkout) = Checkout::new(package, manifest, cx) else { return };
    let program = checkout.stamp.with_file_name(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    if program.is_file() {
        drop(checkout.stamp_as_built(&program, began));
    }
}

/// The program that the environment names, so that nothing is built.
fn given(package: &str, cx: &Context) -> Option<PathBuf> {
    cx.env.path_var(&package.to_uppercase().replace('-', "_"))
}

/// A program that is built from a checkout.
struct Checkout<'a> {
    package: &'a str,
    manifest: PathBuf,
    target: PathBuf,
    /// Its time is the time of the build. Its content is the path of the program, which is a directory deeper if it was built
    /// for another system.
    stamp: PathBuf,
}

impl<'a> Checkout<'a> {
    fn new(package: &'a str, manifest: PathBuf, cx: &Context) -> Result<Self> {
        let target = target_dir(cx)?;
        let in_target = |target: PathBuf| {
            let stamp = target.join("debug").join(format!(".{package}-is-fresh"));
            Self { package, manifest: manifest.clone(), target, stamp }
        };
        let is_at_home = [root(&manifest), &cx.workspace].iter().any(|dir| target.starts_with(dir));
        let plain = in_target(target);
        if is_at_home && !plain.is_of_another_checkout() {
            return Ok(plain);
        }
        Ok(in_target(own_target_dir(package, root(&manifest), &plain.target)))
    }

    /// Whether the existing program was built from other sources.
    fn is_of_another_checkout(&self) -> bool {
        let program = self.built().unwrap_or_else(|| self.stamp.with_file_name(self.package));
        let main = self.manifest.with_file_name("src").join("main.rs");
        // A file that cargo is writing now may have no sources.
        let main = main.canonicalize().ok();
        let is_another = |path: &PathBuf| {
            path.ends_with(Path::new(self.package).join("src/main.rs")) && path.canonicalize().ok() != main
        };
        fs::read_to_string(program.with_extension("d")).is_ok_and(|text| sources(&text).iter().any(is_another))
    }

    /// The program that was built last in this folder. The stamp in a copied target folder names the original's program.
    fn built(&self) -> Option<PathBuf> {
        let program = PathBuf::from(fs::read_to_string(&self.stamp).ok()?);
        (program.starts_with(&self.target) && program.is_file()).then_some(program)
    }

    /// The same program, if no source has changed since.
    fn fresh(&self) -> Option<PathBuf> {
        self.built().filter(|program| is_fresh(&self.stamp, &program.with_extension("d"), &self.manifest))
    }

    /// Whether another cargo is building there. Our quiet cargo would wait for it without a message.
    fn is_locked(&self) -> bool {
        let lock = self.stamp.with_file_name(".cargo-lock");
        fs::File::open(lock).is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    fn up_to_date(self, network: NetworkPolicy, cx: &Context) -> Result<PathBuf> {
        if let Some(program) = self.fresh() {
            return Ok(program);
        }
        check_owner(self.package, &self.target)?;
        let began = SystemTime::now();
        if self.built().is_none() {
            announce(self.package, cx);
        }
        if self.is_locked() {
            let target = cx.shown(&self.target);
            cx.output.note(format_args!("waiting for another cargo, which builds in `{target}`"));
        }
        let (sh, progress, Self { manifest, target, .. }) = (Shell::new()?, progress(cx), &self);
        let build = cmd!(
            sh,
            "cargo build --quiet {progress...} --message-format=json-render-diagnostics
                --manifest-path {manifest} --target-dir {target}"
        );
        let program = executable_of(self.package, cargo(build, network, cx))?;
        let written = self.stamp_as_built(&program, began);
        written.with_context(|| format!("cannot write `{}`", self.stamp.display()))?;
        Ok(program)
    }

    /// `began` is the start of the build: sources that changed during the build are newer.
    fn stamp_as_built(&self, program: &Path, began: SystemTime) -> io::Result<()> {
        fs::create_dir_all(self.stamp.parent().unwrap_or(&self.target))?;
        fs::write(&self.stamp, program.as_os_str().as_encoded_bytes())?;
        fs::File::options().write(true).open(&self.stamp)?.set_modified(began)
    }
}

/// A program that is installed from the Cargo registry, in the version of this crate.
fn installed(package: &str, network: NetworkPolicy, cx: &Context) -> Result<PathBuf> {
    let target = target_dir(cx)?;
    let (root, program) = installation(package, &target);
    if !program.is_file() {
        check_owner(package, &target)?;
        announce(package, cx);
        let (sh, progress) = (Shell::new()?, progress(cx));
        let install = cmd!(
            sh,
            "cargo install {package} --version ={VERSION} --quiet {progress...} --locked --no-track
                --root {root} --target-dir {target}"
        );
        build(package, &mut cargo(install, network, cx))?;
    }
    Ok(program)
}

/// Refuses to build in another user's target folder, for example as root: that user's cargo could not replace the files.
fn check_owner(package: &str, target: &Path) -> Result<()> {
    let there = target.ancestors().find(|dir| dir.exists());
    let Some(NotYours { owner, user, .. }) = there.and_then(NotYours::find) else { return Ok(()) };
    let target = target.display();
    let what =
        format!("{package} has to be built in `{target}`, which belongs to another user, {owner}; you are {user}");
    let variable = package.to_uppercase().replace('-', "_");
    let next = format!(
        "run it as {owner}; or build elsewhere with CARGO_TARGET_DIR=DIR; or use a built program with {variable}=FILE"
    );
    Err(Failure::of(what, next))
}

/// Where to install a program: the directory for cargo, and the program in it.
fn installation(package: &str, target: &Path) -> (PathBuf, PathBuf) {
    let root = target.join(format!("{package}-{VERSION}"));
    let program = root.join("bin").join(format!("{package}{}", std::env::consts::EXE_SUFFIX));
    (root, program)
}

/// The version of the programs: that of this crate.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The manifest of a package beside this crate in a checkout; `None` if the crates come from the Cargo registry.
#[must_use]
pub fn manifest(package: &str, cx: &Context) -> Option<PathBuf> {
    beside(Path::new(env!("CARGO_MANIFEST_DIR")), &cx.workspace, package)
}

/// Beside `here`, the path of this crate when it was compiled. A moved or copied workspace is not compiled again, so the same
/// place within `workspace` has priority.
fn beside(here: &Path, workspace: &Path, package: &str) -> Option<PathBuf> {
    let names = || here.components().filter(|part| matches!(part, Component::Normal(_)));
    let tails = (0..names().count()).map(|skipped| names().skip(skipped).collect::<PathBuf>());
    let within = tails.map(|tail| workspace.join(tail)).filter(|dir| dir.join("Cargo.toml").is_file());
    let mut manifests = within.chain([here.to_owned()]).map(|dir| dir.with_file_name(package).join("Cargo.toml"));
    manifests.find(|manifest| manifest.is_file())
}

fn announce(package: &str, cx: &Context) {
    cx.output.note(format_args!("building {package}; this happens once"));
}

/// Makes cargo draw its progress bar if we would draw one. In quiet mode it needs this setting.
fn progress(cx: &Context) -> [&'static str; 4] {
    let when = if cx.output.shows_progress() { "term.progress.when='always'" } else { "term.progress.when='never'" };
    ["--config", when, "--config", "term.progress.width=80"]
}

/// A call of cargo that builds a program, with what the build needs.
fn cargo(call: Cmd<'_>, network: NetworkPolicy, cx: &Context) -> Command {
    protoc::provide(cx, network);
    let mut cargo = cx.in_workspace(call);
    protoc::lead_cargo(&mut cargo, network, cx);
    cargo
}

/// Builds the program, and gets its path from cargo.
fn executable_of(package: &str, mut cargo: Command) -> Result<PathBuf> {
    let (reader, stdout) = std::io::pipe().context("cannot make a pipe")?;
    let (sender, programs) = channel();
    let name = package.to_owned();
    std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.filter_map(|line| executable(&line, &name)).try_for_each(|program| sender.send(program))
    });
    build(package, cargo.stdout(stdout))?;
    // This closes our end of the pipe. A process that the build left running may keep it open.
    drop(cargo);
    programs.recv_timeout(LAST_WORD).map_err(|_| failed(package))
}

/// The path of the built program, if this line of cargo's has it.
fn executable(line: &str, package: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: PathBuf,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    (artifact.target.name == package).then_some(artifact.executable)
}

/// Ctrl-C ends the build and then this process, also without a terminal.
fn build(package: &str, cargo: &mut Command) -> Result<()> {
    match Interrupts::listen()?.run(cargo, || ())? {
        Exit::SUCCESS => Ok(()),
        Exit::INTERRUPTED => Err(AlreadyReported(Exit::INTERRUPTED).into()),
        _ => Err(failed(package)),
    }
}

fn failed(package: &str) -> anyhow::Error {
    let what = format!("{package} could not be built");
    Failure::of(what, "`cargo xtask doctor` checks toolchain, linker and protoc")
}

/// The target folder: this program is in `<target>/<profile>/` or `<target>/<system>/<profile>/`.
pub(crate) fn target_dir(cx: &Context) -> Result<PathBuf> {
    if let Some(dir) = cx.env.path_var("CARGO_TARGET_DIR") {
        return Ok(dir);
    }
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let above = || exe.ancestors().skip(2).take(2);
    // Cargo tags what it makes itself.
    let tagged = above().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    Ok(tagged.or_else(|| above().next()).unwrap_or(&cx.workspace).to_owned())
}

/// The checkout of a package that lies in its `crates`.
fn root(manifest: &Path) -> &Path {
    manifest.ancestors().nth(3).unwrap_or(manifest)
}

/// A folder for this checkout in a shared target folder. Cargo distinguishes the crates of two checkouts only by the times of
/// their files, and would confuse them in the same folder.
fn own_target_dir(package: &str, root: &Path, target: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    target.join(format!("{package}-{:016x}", hasher.finish()))
}

/// Whether no source is newer than the last build. Calling cargo would take longer than most commands. This checks the same
/// files as cargo: the sources in its dep-info, and their manifests.
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
    let of_workspace = ["Cargo.toml", "Cargo.lock"].map(|name| root(manifest).join(name));
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
    fn a_workspace_may_have_been_moved_or_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let make = |name: &&str| {
            fs::create_dir_all(path(name)).unwrap();
            fs::write(path(name).join("Cargo.toml"), "").unwrap();
        };
        let found = |workspace: &str| beside(&path("old/crates/etcd-xtask"), &path(workspace), "etcd-console");
        ["new/crates/etcd-xtask", "new/crates/etcd-console", "adopter/etcd-console"].iter().for_each(make);
        let console = |workspace: &str| Some(path(workspace).join("crates/etcd-console/Cargo.toml"));
        assert_eq!((found("new"), found("adopter")), (console("new"), None));
        ["old/crates/etcd-xtask", "old/crates/etcd-console"].iter().for_each(make);
        assert_eq!((found("old"), found("new"), found("adopter")), (console("old"), console("new"), console("old")));
    }

    #[test]
    fn cargo_says_where_the_program_is() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"a","kind":["bin"]},"executable":"/t/x/a"}"#;
        assert_eq!(executable(line, "a"), Some("/t/x/a".into()));
        assert_eq!(executable(line, "b"), None);
        for other in [r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}"#, "{}", "no JSON"] {
            assert_eq!(executable(other, "a"), None);
        }
    }

    #[test]
    fn anything_newer_or_missing_means_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (manifest, source) = (path("crates/console/Cargo.toml"), path("crates/keys/src/a.rs"));
        let main = path("crates/console/src/main.rs");
        for file in
            [&path("Cargo.toml"), &path("Cargo.lock"), &manifest, &path("crates/keys/Cargo.toml"), &main, &source]
        {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let sources = format!("x: {} {}", main.display(), source.display().to_string().replace(' ', "\\ "));
        fs::write(path("d"), sources).unwrap();
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
