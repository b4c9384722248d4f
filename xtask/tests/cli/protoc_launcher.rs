//! The protoc of builds: the launcher that plain cargo and IDEs go through, and who brings what it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bad_input::quiet;
use crate::machine::plain_path;
use crate::playground::{Playground, Run, finish};

const LAUNCHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/protoc");

/// A workspace with the launcher in it, where this one has it.
fn with_launcher() -> (Playground, PathBuf) {
    let play = Playground::new();
    let launcher = play.path("scripts/protoc");
    fs::create_dir(play.path("scripts")).unwrap();
    fs::copy(LAUNCHER, &launcher).unwrap();
    configure(&play, "scripts/protoc");
    (play, launcher)
}

/// The line of `.cargo/config.toml` that leads plain cargo to a protoc.
fn configure(play: &Playground, launcher: &str) {
    fs::create_dir_all(play.path(".cargo")).unwrap();
    let line = format!("[env]\nPROTOC = {{ value = \"{launcher}\", relative = true }}\n");
    fs::write(play.path(".cargo/config.toml"), line).unwrap();
}

fn program(path: &Path, says: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\necho {says} \"$@\"\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A protoc with its include files, in a directory `bin` that this returns.
fn whole_protoc(play: &Playground, dir: &str, says: &str) -> PathBuf {
    program(&play.path(dir).join("bin/protoc"), says);
    let include = play.path(dir).join("include/google/protobuf");
    fs::create_dir_all(&include).unwrap();
    fs::write(include.join("descriptor.proto"), "").unwrap();
    play.path(dir).join("bin")
}

/// As if `cargo xtask doctor` had brought it.
fn brought(play: &Playground, says: &str) {
    program(&play.path("brought/protoc"), says);
    fs::create_dir_all(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd/.protoc"), play.path("brought/protoc").to_str().unwrap()).unwrap();
}

fn with_path(dir: &Path) -> String {
    format!("{}:{}", dir.display(), plain_path().display())
}

fn knock(launcher: &Path, path: &str) -> Run {
    let mut command = Command::new(launcher);
    command.args(["--a b", "c"]).env_clear().env("PATH", path);
    finish(quiet(command))
}

#[test]
fn this_workspaces_launcher_is_the_one_that_others_get() {
    let others = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/etcd-xtask/src/build/protoc.sh");
    assert_eq!(fs::read_to_string(LAUNCHER).unwrap(), fs::read_to_string(others).unwrap());
}

#[test]
fn your_own_protoc_comes_before_the_one_that_was_brought() {
    let (play, launcher) = with_launcher();
    let scripts = with_path(launcher.parent().unwrap());
    let run = knock(&launcher, &scripts);
    assert!(run.code == Some(1) && run.stderr.contains("cargo xtask doctor"), "{run:?}");
    brought(&play, "brought");
    assert_eq!(knock(&launcher, &scripts).ok().stdout.trim(), "brought --a b c");
    program(&play.path("bare/protoc"), "bare");
    let run = knock(&launcher, &with_path(&play.path("bare"))).ok();
    assert_eq!(run.stdout.trim(), "brought --a b c", "a protoc without its include files cannot compile etcd's");
    let mine = whole_protoc(&play, "my own", "mine");
    assert_eq!(knock(&launcher, &with_path(&mine)).ok().stdout.trim(), "mine --a b c");
}

/// Without PROTOC, and with a PATH that has no protoc.
fn xtask(play: &Playground, args: &[&str]) -> Command {
    let mut command = play.command(args);
    command.env_remove("PROTOC");
    command
}

/// A package that needs a protoc to be built, as those that depend on etcd-client do.
fn package(play: &Playground) {
    let manifest =
        "[package]\nname = \"play\"\nedition = \"2024\"\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\n";
    fs::write(play.path("Cargo.toml"), manifest).unwrap();
    fs::create_dir(play.path("src")).unwrap();
    fs::write(play.path("src/lib.rs"), "").unwrap();
    let lock = "version = 4\n[[package]]\nname = \"play\"\nversion = \"0.0.0\"\n# name = \"etcd-client\"\n";
    fs::write(play.path("Cargo.lock"), lock).unwrap();
    let build = r#"
    fn main() {
        println!("cargo::rerun-if-env-changed=PROTOC");
        let protoc = std::env::var("PROTOC").unwrap_or("protoc".to_owned());
        let said = std::process::Command::new(protoc).arg("--version").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        println!("cargo::warning={}", String::from_utf8_lossy(&said.stdout));
    }"#;
    fs::write(play.path("build.rs"), build).unwrap();
}

/// Plain cargo, as users and IDEs call it.
fn plain_cargo(play: &Playground) -> Command {
    let mut command = xtask(play, &[]);
    let mut cargo = Command::new("cargo");
    cargo.arg("check").current_dir(play.dir.path()).env_clear();
    cargo.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("PROTOC");
    command = cargo;
    quiet(command)
}

#[test]
fn plain_cargo_finds_the_protoc_that_doctor_brought_by_one_line() {
    let play = Playground::new();
    package(&play);
    brought(&play, "libprotoc brought");
    let run = finish(xtask(&play, &["doctor"]));
    let line = r#"PROTOC = { value = ".etcd/protoc", relative = true }"#;
    assert!(run.stdout.contains("plain cargo and IDEs do not find it") && run.stdout.contains(line), "{run:#?}");
    assert_ne!(finish(plain_cargo(&play)).code, Some(0), "there is no protoc to be found");

    configure(&play, ".etcd/protoc");
    let run = finish(xtask(&play, &["doctor"]));
    assert!(run.stdout.contains("ok       protoc: libprotoc brought"), "{run:#?}");
    let run = finish(plain_cargo(&play)).ok();
    assert!(run.stderr.contains("libprotoc brought --version"), "{run:#?}");

    // One's own wins, on PATH and in PROTOC.
    let mine = whole_protoc(&play, "mine", "libprotoc mine");
    fs::write(play.path("build.rs"), fs::read_to_string(play.path("build.rs")).unwrap() + "//").unwrap();
    let mut cargo = plain_cargo(&play);
    cargo.env("PATH", with_path(&mine));
    let run = finish(cargo).ok();
    assert!(run.stderr.contains("libprotoc mine"), "{run:#?}");
    let mut cargo = plain_cargo(&play);
    cargo.env("PROTOC", mine.join("protoc"));
    let run = finish(cargo).ok();
    assert!(run.stderr.contains("libprotoc mine"), "{run:#?}");
}

#[test]
fn what_runs_in_a_run_finds_the_protoc_without_any_line() {
    crate::playground::build_console();
    let play = Playground::new();
    package(&play);
    brought(&play, "libprotoc brought");
    let run = finish(xtask(&play, &["run", "--ephemeral", "--", "cargo", "check"])).ok();
    assert!(run.stderr.contains("libprotoc brought --version"), "{run:#?}");
}

#[test]
fn a_launcher_that_is_there_stays() {
    let play = Playground::new();
    configure(&play, "tools/protoc");
    program(&play.path("tools/protoc"), "libprotoc theirs");
    let before = fs::read(play.path("tools/protoc")).unwrap();
    let run = finish(xtask(&play, &["doctor"]));
    assert!(run.stdout.contains("ok       protoc: libprotoc theirs"), "{run:#?}");
    assert_eq!(fs::read(play.path("tools/protoc")).unwrap(), before);
}

/// Only commands that build need a protoc.
#[test]
fn commands_that_do_not_build_look_for_no_protoc() {
    let play = Playground::new();
    configure(&play, ".etcd/protoc");
    // Whatever brings one asks cargo.
    program(&play.path("bin/cargo"), "cargo");
    fs::write(play.path("bin/cargo"), format!("#!/bin/sh\n: > '{}'\nexit 1\n", play.path("asked").display())).unwrap();
    for line in [
        &["etcd-status"][..],
        &["etcd-down"],
        &["etcd-up"],
        &["etcd-reset", "--yes"],
        &["env"],
        &["etcd-logs"],
        &["etcd-install", "--list"],
        &["completions", "bash"],
    ] {
        let mut command = xtask(&play, line);
        command.env("PATH", with_path(&play.path("bin")));
        let run = finish(command);
        assert!(!run.stderr.contains("protoc") && !play.path("asked").exists(), "{line:?}: {run:#?}");
    }
    let mut command = xtask(&play, &["doctor"]);
    command.env("PATH", with_path(&play.path("bin"))).env("ETCD_LOCAL_CACHE", play.path("cache"));
    let run = finish(command);
    assert!(play.path("asked").exists() && run.stdout.contains("FAILURE  protoc: there is none"), "{run:#?}");
}

#[test]
fn doctor_brings_a_protoc_where_there_is_none() {
    let (play, launcher) = with_launcher();
    // One that is not there any more; who has it open goes on reading it.
    fs::create_dir(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd/.protoc"), "/nonexistent/protoc").unwrap();
    fs::hard_link(play.path(".etcd/.protoc"), play.path("before")).unwrap();
    finish(xtask(&play, &["doctor"]));
    assert_eq!(fs::read_to_string(play.path("before")).unwrap(), "/nonexistent/protoc", "replaced, not written over");
    let path = plain_path().to_str().unwrap();
    let run = knock(&launcher, path);
    assert!(run.stderr.contains("--a b"), "a real protoc complains of its arguments: {run:?}");
    let mut version = Command::new(&launcher);
    version.arg("--version").env_clear().env("PATH", path);
    assert!(finish(quiet(version)).ok().stdout.starts_with("libprotoc "));
}

/// A team's workspace need not have a launcher, nor set PROTOC.
#[test]
fn doctor_finds_the_protoc_that_was_brought_where_there_is_no_launcher() {
    let play = Playground::new();
    brought(&play, "libprotoc");
    let doctor = |protoc: Option<&Path>| {
        let mut command = xtask(&play, &["doctor"]);
        command.envs(protoc.map(|protoc| ("PROTOC", protoc)));
        finish(command)
    };
    let run = doctor(None);
    assert!(run.stdout.contains("ok       protoc: libprotoc"), "{run:#?}");
    let run = doctor(Some(&play.path("none")));
    assert!(
        run.code == Some(1) && run.stdout.contains("FAILURE  protoc: ") && run.stdout.contains("/none`"),
        "{run:#?}"
    );
}
