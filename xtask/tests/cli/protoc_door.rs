//! The door to protoc that plain cargo and IDEs go through.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bad_input::quiet;
use crate::playground::{Playground, Run, finish};

const DOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/protoc");

/// A workspace with our door in it.
fn with_door() -> (Playground, PathBuf) {
    let play = Playground::new();
    let door = play.path("scripts/protoc");
    fs::create_dir(play.path("scripts")).unwrap();
    fs::copy(DOOR, &door).unwrap();
    (play, door)
}

fn program(path: &Path, says: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\necho {says} \"$@\"\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn knock(door: &Path, path: &str) -> Run {
    let mut command = Command::new(door);
    command.args(["--a b", "c"]).env_clear().env("PATH", path);
    finish(quiet(command))
}

#[test]
fn your_own_protoc_comes_before_the_one_that_was_brought() {
    let (play, door) = with_door();
    let scripts = door.parent().unwrap().to_str().unwrap();
    let run = knock(&door, &format!("{scripts}:/usr/bin:/bin"));
    assert!(run.code == Some(1) && run.stderr.contains("cargo xtask doctor"), "{run:?}");
    program(&play.path("brought/protoc"), "brought");
    fs::create_dir(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd/.protoc"), play.path("brought/protoc").to_str().unwrap()).unwrap();
    assert_eq!(knock(&door, &format!("{scripts}:/usr/bin:/bin")).ok().stdout.trim(), "brought --a b c");
    program(&play.path("bare/protoc"), "bare");
    let bare = play.path("bare");
    let run = knock(&door, &format!("{}:/usr/bin:/bin", bare.display())).ok();
    assert_eq!(run.stdout.trim(), "brought --a b c", "a protoc without its include files cannot compile etcd's");
    program(&play.path("my own/bin/protoc"), "mine");
    let mine = play.path("my own/bin");
    let include = play.path("my own/include/google/protobuf");
    fs::create_dir_all(&include).unwrap();
    fs::write(include.join("descriptor.proto"), "").unwrap();
    assert_eq!(knock(&door, &format!("{}:/usr/bin:/bin", mine.display())).ok().stdout.trim(), "mine --a b c");
}

#[test]
fn any_command_brings_a_protoc_where_there_is_none() {
    let (play, door) = with_door();
    // As `cargo run` hands it on, and without any protoc on PATH.
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from);
    for tool in ["cargo", "rustc"] {
        std::os::unix::fs::symlink(Path::new(env!("CARGO")).with_file_name(tool), bin.join(tool)).unwrap();
    }
    let play = play.with("PROTOC", &door).with("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let play = play.with("CARGO_HOME", cargo_home);
    if Path::new("/usr/include/google/protobuf/descriptor.proto").exists() {
        return; // this machine may have a protoc of its own, and it wins
    }
    // One that is not there any more; who has it open goes on reading it.
    fs::create_dir(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd/.protoc"), "/nonexistent/protoc").unwrap();
    fs::hard_link(play.path(".etcd/.protoc"), play.path("before")).unwrap();
    play.xtask(&["etcd-status"]);
    assert_eq!(fs::read_to_string(play.path("before")).unwrap(), "/nonexistent/protoc", "replaced, not written over");
    let run = knock(&door, "/usr/bin:/bin");
    assert!(run.stderr.contains("--a b"), "a real protoc complains of its arguments: {run:?}");
    let mut version = Command::new(&door);
    version.arg("--version").env_clear().env("PATH", "/usr/bin:/bin");
    assert!(finish(quiet(version)).ok().stdout.starts_with("libprotoc "));
}

/// A team's workspace has no door, and need not set PROTOC.
#[test]
fn doctor_finds_the_protoc_that_was_brought_where_there_is_no_door() {
    let play = Playground::new();
    program(&play.path("brought/protoc"), "libprotoc");
    fs::create_dir(play.path(".etcd")).unwrap();
    fs::write(play.path(".etcd/.protoc"), play.path("brought/protoc").to_str().unwrap()).unwrap();
    let doctor = |protoc: Option<&Path>| {
        let mut command = play.command(&["doctor"]);
        match protoc {
            Some(protoc) => command.env("PROTOC", protoc),
            None => command.env_remove("PROTOC"),
        };
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

fn home() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap())
}
