//! A team's workspace, as `init` makes it of one that has no etcd yet: it is built and run as that team would, outside of
//! ours, with no protoc, no etcd and no configuration but its own. `examples/adopter` has the files that `init` writes.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::plain_path;
use crate::playground::{Run, finish, remove_if_killed, shared_cache};

/// The most lines of its own that a team should need.
const LINES: usize = 40;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/adopter")
}

/// A copy that does not lie in our workspace, whose configuration it would inherit. Always in the same place, for what
/// was built of it to be of use the next time; gone when this is.
struct Copy {
    dir: PathBuf,
    /// Two runs of this suite at once take turns.
    _turn: fs::File,
}

impl Copy {
    fn new() -> Self {
        let turn = fs::File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopter.lock")).unwrap();
        turn.lock().unwrap();
        let mut hash = std::hash::DefaultHasher::new();
        env!("CARGO_MANIFEST_DIR").hash(&mut hash);
        let this = Self { dir: std::env::temp_dir().join(format!("adopter-{:016x}", hash.finish())), _turn: turn };
        remove_if_killed(&this.dir);
        write(&this.dir);
        this
    }
}

/// Writes the team's own crate to `dir`, and has `init` add the rest.
fn write(dir: &Path) {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").canonicalize().unwrap();
    for file in ["Cargo.lock", "inventory/Cargo.toml", "inventory/src/lib.rs"] {
        let text = fs::read_to_string(example().join(file)).unwrap();
        let to = dir.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text.replace("../../../crates", crates.to_str().unwrap())).unwrap();
    }
    let manifest = dir.join("Cargo.toml");
    fs::write(&manifest, "[workspace]\nresolver = \"3\"\nmembers = [\"inventory\"]\n").unwrap();
    init(dir).ok();
    // Tests leave the usual ports to others.
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\nroot = ", "\nport = \"auto\"\nroot = ")).unwrap();
    // What did not change is not built anew.
    for file in INITS.iter().chain(&["Cargo.lock", "inventory/Cargo.toml", "inventory/src/lib.rs"]) {
        let modified = fs::metadata(example().join(file)).unwrap().modified().unwrap();
        fs::File::options().write(true).open(dir.join(file)).unwrap().set_modified(modified).unwrap();
    }
}

/// The files that `init` writes or extends.
const INITS: [&str; 5] =
    ["Cargo.toml", ".cargo/config.toml", "xtask/Cargo.toml", "xtask/src/main.rs", ".github/workflows/etcd.yml"];

/// Runs `init` in a directory, as `cargo run --manifest-path` does from there.
fn init(dir: &Path) -> Run {
    let mut init = Command::new(env!("CARGO_BIN_EXE_xtask"));
    init.args(["init", "--root", "/Inventory/v1"]).current_dir(dir);
    init.env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
    finish(init)
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = cargo(&self.dir, &["xtask", "etcd-down"]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn cargo(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(dir).env_clear();
    command.env("PATH", plain_path());
    for inherited in ["CARGO_HOME", "RUSTUP_HOME", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command
        .env("ETCD_LOCAL_CACHE", shared_cache())
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/adopter"))
        // What this workspace has compiled is not compiled again. Cargo before 1.91 does not know the variable.
        .env("CARGO_BUILD_BUILD_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    // With such a cargo it is a build of some minutes: there is nobody here who should cut it off.
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text.join("\n"))
}

#[test]
fn a_team_needs_few_lines_of_its_own() {
    let ours = ["xtask/src/main.rs", ".cargo/config.toml", "Cargo.toml", "xtask/Cargo.toml"];
    let lines = |file: &&str| fs::read_to_string(example().join(file)).unwrap().lines().count();
    let count: usize = ours.iter().map(lines).sum();
    assert!(count <= LINES, "{count}");
}

#[test]
fn a_team_has_the_whole_workflow() {
    let copy = Copy::new();
    let ran = |args: &[&str]| {
        let (code, text) = cargo(&copy.dir, &[&["xtask"], args].concat());
        assert_eq!(code, Some(0), "{args:?}: {text}");
        text
    };
    ran(&["etcd-up"]);
    let tested = ran(&["test", "--runner", "cargo"]);
    assert!(tested.contains("3 passed") && tested.contains("keys swept"), "{tested}");
    let listed = ran(&["runs"]);
    assert!(listed.contains("no runs below /Inventory/v1/Test/"), "{listed}");
    ran(&["test-clean"]);
    ran(&["etcd-down"]);
    assert_eq!(cargo(&copy.dir, &["xtask", "etcd-status"]).0, Some(3));
}

#[test]
fn init_changes_no_line_that_exists_and_prints_what_it_cannot_add() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let files = || INITS.map(|file| fs::read_to_string(dir.path().join(file)).unwrap());
    let written = files();
    let again = init(dir.path()).ok().stdout;
    assert_eq!(again.matches("  unchanged  ").count(), INITS.len(), "{again}");
    assert_eq!(files(), written);

    // Also from a folder below, and where the files have other lines.
    let config = dir.path().join(".cargo/config.toml");
    fs::write(&config, "[build]\njobs = 1\n\n[alias]\nb = \"build\"").unwrap();
    let extended = init(&dir.path().join("inventory")).ok().stdout;
    assert!(extended.contains("  extended   .cargo/config.toml"), "{extended}");
    let text = fs::read_to_string(&config).unwrap();
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("xtask = ")).take(5).collect();
    assert_eq!(kept, ["[build]", "jobs = 1", "", "[alias]", "b = \"build\""], "{text}");

    let inline = "alias = { b = \"build\" }\n";
    fs::write(&config, inline).unwrap();
    let by_hand = init(dir.path());
    assert_eq!(by_hand.code, Some(1), "{}", by_hand.stdout);
    assert!(by_hand.stdout.contains("cannot extend this file safely; add by hand:\n      [alias]\n      xtask = "));
    assert_eq!(fs::read_to_string(&config).unwrap(), inline);
}

#[test]
fn init_knows_an_xtask_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[workspace]\nmembers = [\"tools/xtask\"]\n";
    let package = "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\n";
    let main = dir.path().join("tools/xtask/src/main.rs");
    fs::create_dir_all(main.parent().unwrap()).unwrap();
    fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    fs::write(dir.path().join("tools/xtask/Cargo.toml"), package).unwrap();
    fs::write(&main, "fn main() {}\n").unwrap();
    fs::create_dir(dir.path().join(".cargo")).unwrap();
    fs::write(dir.path().join(".cargo/config"), "[alias]\nxtask = \"run --package xtask --\"\n").unwrap();
    let run = init(dir.path());
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("  unchanged  tools/xtask/Cargo.toml: init cannot extend"), "{}", run.stdout);
    assert!(run.stdout.contains("  extended   .cargo/config (") && !dir.path().join("xtask").exists());
    let extended = fs::read_to_string(dir.path().join("Cargo.toml")).unwrap();
    assert!(extended.starts_with(&format!("{manifest}\n[workspace.metadata.etcd]\nroot = ")), "{extended}");
    assert_eq!(fs::read_to_string(main).unwrap(), "fn main() {}\n");
}

#[test]
fn init_refuses_what_it_cannot_use_and_writes_nothing() {
    let nowhere = tempfile::tempdir().unwrap();
    let refused = init(nowhere.path());
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("could not find `Cargo.toml` in"), "{}", refused.stderr);
    let here = init(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(here.stderr.contains("is the workspace that these commands come from"), "{}", here.stderr);
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
    for (metadata, words) in [("root = \"/Other\"", "has the root `/Other` already"), ("rooot = 1", "`rooot`")] {
        let team = tempfile::tempdir().unwrap();
        let manifest = format!("[workspace]\nmembers = []\n[workspace.metadata.etcd]\n{metadata}\n");
        fs::write(team.path().join("Cargo.toml"), &manifest).unwrap();
        init(team.path()).fails(2, &[words]);
        assert_eq!(fs::read_dir(team.path()).unwrap().count(), 1, "{metadata}");
        assert_eq!(fs::read_to_string(team.path().join("Cargo.toml")).unwrap(), manifest);
    }
}

/// What cargo would compile, of crates that come from the registry: each in each of its forms. `None` where this cargo
/// does not tell.
fn third_party(dir: &Path, args: &[&str]) -> Option<BTreeSet<String>> {
    let target = tempfile::tempdir().unwrap();
    let mut cargo = Command::new("cargo");
    cargo.args(args).args(["-Z", "unstable-options", "--unit-graph"]).current_dir(dir);
    // Only with it a stable cargo tells.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", target.path());
    let output = cargo.output().unwrap();
    let graph: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
    let Some(graph) = graph.filter(|graph| graph["version"] == 1) else {
        eprintln!("skipped: this cargo shows no unit graph: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    };
    let mut units = graph["units"].as_array().unwrap().clone();
    units.retain(|unit| unit["pkg_id"].as_str().unwrap().starts_with("registry+"));
    let form = |unit: &mut serde_json::Value| {
        // What is the same, by another name, is shared.
        unit["profile"].as_object_mut().unwrap().remove("name");
        let unit = ["pkg_id", "target", "profile", "platform", "mode", "features"].map(|key| unit[key].to_string());
        unit.join(" ")
    };
    Some(units.iter_mut().map(form).collect())
}

#[test]
fn a_team_compiles_its_dependencies_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let console = example().join("../../crates/etcd-console");
    let (tests, console) =
        (third_party(dir.path(), &["test", "--no-run", "--workspace"]), third_party(&console, &["build", "--locked"]));
    let (Some(tests), Some(console)) = (tests, console) else { return };
    assert!(console.len() > 100, "{}", console.len());
    // Only packages that the tests have, too, can be compiled twice. Others are the console's own: nothing but the console
    // needs them (jiff, say), so they are compiled once, and no profile or feature of the team's could share them.
    let package = |unit: &String| unit.split_once(' ').map(|(package, _)| package.to_owned());
    let shared: BTreeSet<_> = tests.iter().map(package).collect();
    let again: Vec<_> = console.difference(&tests).filter(|unit| shared.contains(&package(unit))).collect();
    assert!(again.is_empty(), "{} of {} are compiled once more: {again:#?}", again.len(), console.len());
}
