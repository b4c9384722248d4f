//! `examples/adopter`, a workspace as a team would write it from the README: it is built and run as that team would,
//! outside of ours, with no protoc, no etcd and no configuration but its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::playground::shared_cache;

/// The most lines of its own that a team should need.
const LINES: usize = 40;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/adopter")
}

/// A copy that does not lie in our workspace, whose configuration it would inherit. Kept, with what is built there.
fn copy() -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopter-workspace");
    // Below the system's root there is none of our `.cargo`, but below the target directory there may be.
    let to = match to.ancestors().any(|dir| dir.join(".cargo/config.toml").is_file()) {
        true => std::env::temp_dir().join("etcd-xtask-adopter"),
        false => to,
    };
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").canonicalize().unwrap();
    for file in [
        ".cargo/config.toml",
        "Cargo.lock",
        "Cargo.toml",
        "inventory/Cargo.toml",
        "inventory/src/lib.rs",
        "xtask/Cargo.toml",
        "xtask/src/main.rs",
    ] {
        let text = fs::read_to_string(example().join(file)).unwrap();
        let text = text.replace("../../../crates", crates.to_str().unwrap());
        let path = to.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // What did not change keeps its time, so that it is not built anew.
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            fs::write(path, text).unwrap();
        }
    }
    to
}

fn cargo(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(dir).env_clear();
    for inherited in ["PATH", "CARGO_HOME", "RUSTUP_HOME", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command
        .env("ETCD_LOCAL_CACHE", shared_cache())
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/adopter"));
    // The first time it is a build of some minutes: there is nobody here who should cut it off.
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
    let dir = copy();
    let ran = |args: &[&str]| {
        let (code, text) = cargo(&dir, &[&["xtask"], args].concat());
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
    assert_eq!(cargo(&dir, &["xtask", "etcd-status"]).0, Some(3));
}
