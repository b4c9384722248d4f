//! Completions: what a shell is told when the user presses Tab.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::bad_input::quiet;
use crate::keys;
use crate::machine::plain_path;
use crate::playground::{Playground, finish};

/// What is offered for the last of these words.
fn offered(play: &Playground, words: &[&str]) -> Vec<String> {
    let mut command = play.command(&[&["--", "xtask"], words].concat());
    command.env("XTASK_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n");
    let run = finish(command).ok();
    assert_eq!(run.stderr, "", "{words:?}");
    run.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn every_command_offers_all_its_options() {
    let play = Playground::new();
    for (command, option) in [
        ("get", "--keys-only"),
        ("put", "--endpoints"),
        ("del", "--expect-count"),
        ("undo", "--timeout"),
        ("watch", "--rev"),
        ("runs", "--format"),
        ("test-clean", "--unregistered"),
        ("etcd-up", "--data-dir"),
        ("bench", "--rounds"),
    ] {
        let offered = offered(&play, &[command, "--"]);
        assert!(offered.iter().any(|one| one == option), "{command}: {offered:?}");
    }
    assert!(offered(&play, &["etcd-"]).contains(&"etcd-status".to_owned()));
    assert_eq!(offered(&play, &["env", "--shell", "fi"]), ["fish"]);
}

#[test]
fn instances_are_offered_by_name() {
    let play = Playground::new();
    play.up(&["--instance", "scratch"]);
    play.up(&["--instance", "other"]);
    for command in ["etcd-down", "get", "run"] {
        assert_eq!(offered(&play, &[command, "--instance", ""]), ["other", "scratch"], "{command}");
        assert_eq!(offered(&play, &[command, "--instance", "s"]), ["scratch"], "{command}");
    }
}

#[test]
fn keys_are_offered_as_far_as_the_next_slash() {
    let play = keys::play();
    play.up(&[]);
    for key in ["/Inventory/v1/racks/1", "/Inventory/v1/racks/2", "/Inventory/v1/users", "/Other/x"] {
        play.xtask(&["put", key, "value"]).ok();
    }
    assert_eq!(offered(&play, &["get", "/Inventory/v1/"]), ["/Inventory/v1/racks/", "/Inventory/v1/users"]);
    let racks = ["/Inventory/v1/racks/1", "/Inventory/v1/racks/2"];
    assert_eq!(offered(&play, &["del", "/Inventory/v1/racks/"]), racks);
    assert_eq!(offered(&play, &["watch", "/Oth"]), ["/Other/"]);
    assert!(offered(&play, &["get", "/None"]).is_empty());
}

/// Nobody who presses Tab wants to wait for a build.
#[test]
fn without_a_server_or_a_program_no_keys_are_offered_and_nothing_is_built() {
    let play = Playground::new();
    assert!(offered(&play, &["get", "/"]).is_empty(), "no server");
    fs::create_dir(play.path("bin")).unwrap();
    let cargo = play.path("bin/cargo");
    fs::write(&cargo, format!("#!/bin/sh\n: > '{}'\n", play.path("asked").display())).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", play.path("bin").display(), plain_path().display());
    let target = play.path("target");
    let play = play.with("PATH", path).with("CARGO_TARGET_DIR", target);
    assert!(offered(&play, &["get", "/"]).is_empty(), "no program");
    assert!(!play.path("asked").exists());
}

#[test]
fn bash_asks_this_program() {
    let play = Playground::new();
    fs::create_dir(play.path("bin")).unwrap();
    let cargo = play.path("bin/cargo");
    // The alias ends with `--`.
    let body = format!("#!/bin/sh\nshift 2\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask"));
    fs::write(&cargo, body).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(play.path("script"), play.xtask(&["completions", "bash"]).ok().stdout).unwrap();
    let ask = r#". ./script; COMP_WORDS=(xtask get --pre); COMP_CWORD=2
                 _clap_complete_xtask xtask --pre get; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    let plain = play.command(&[""]);
    bash.args(["--norc", "-c", ask]).current_dir(play.dir.path()).env_clear();
    bash.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bash.env("PATH", format!("{}:{}", play.path("bin").display(), plain_path().display()));
    let run = finish(quiet(bash)).ok();
    assert_eq!(run.stdout, "--prefix\n", "{run:#?}");
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        let script = play.xtask(&["completions", shell]).ok().stdout;
        assert!(script.contains("cargo --quiet xtask"), "{shell}: {script}");
    }
}
