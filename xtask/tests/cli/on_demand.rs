//! Programs that are built when a command needs them, with a cargo that only says what it was asked: where the program
//! is found, what an interrupt does to the build, and whether the network is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use testkit::TIMEOUT;

use crate::playground::{Playground, eventually};
use crate::runs::finish_child;

/// Where nothing is built yet, with `body` for a cargo; its calls are in `calls`, with what is said of the network.
fn with_cargo(body: &str) -> Playground {
    let play = Playground::new();
    let bin = play.path("bin");
    fs::create_dir(&bin).unwrap();
    let calls = play.path("calls");
    let script = format!("#!/bin/sh\necho \"offline=$CARGO_NET_OFFLINE $*\" >> '{}'\n{body}\n", calls.display());
    fs::write(bin.join("cargo"), script).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let target = play.path("target");
    play.with("PATH", path).with("CARGO_TARGET_DIR", target)
}

fn calls(play: &Playground) -> Vec<String> {
    let calls = fs::read_to_string(play.path("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

/// A cargo that builds, as with `build.target` or CARGO_BUILD_TARGET.
const BUILDS: &str = r#"
while [ $# -gt 0 ]; do
    case $1 in --target-dir) target=$2;; --manifest-path) manifest=$2;; esac
    shift
done
dir=${target:-$CARGO_TARGET_DIR}/some-system/debug
package=${manifest%/Cargo.toml} package=${package##*/}
mkdir -p "$dir"
printf '#!/bin/sh\necho "built: $0 $*"\necho "by: '"$PWD"'"\n' > "$dir/$package"
chmod +x "$dir/$package"
printf 'x: %s\n' "$(printf %s "${manifest%/*}/src/main.rs" | sed 's/ /\\ /g')" > "$dir/$package.d"
echo '{"reason":"compiler-artifact","target":{"name":"etcd-keys"},"executable":null}'
echo "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"$package\"},\"executable\":\"$dir/$package\"}"
"#;

#[test]
fn a_program_is_where_cargo_says() {
    let play = with_cargo(BUILDS);
    for _ in 0..2 {
        let run = play.xtask(&["runs"]).ok();
        assert!(run.stdout.contains("built: ") && run.stdout.contains("runs"), "{run:#?}");
    }
    assert_eq!(calls(&play).len(), 1, "what is fresh is not built again");
}

#[test]
fn one_build_serves_all_commands_and_is_told_once() {
    let play = with_cargo(BUILDS);
    let said = [&["runs"][..], &["get", "k"], &["runs"]].map(|args| play.xtask(args).ok().stderr);
    assert_eq!(said, ["building etcd-console; this happens once\n", "", ""]);
    assert_eq!(with_cargo(BUILDS).xtask(&["runs", "-q"]).ok().stderr, "");
}

/// `bench` has its own way with Ctrl-C, so that it cannot build.
#[test]
fn bench_finds_the_programs_that_it_calls() {
    let play = with_cargo(BUILDS);
    let run = play.xtask(&["bench", "read"]).ok();
    let console = play.path("target/some-system/debug/etcd-console");
    assert!(run.stdout.contains(&format!("etcd-proof --console {} --xtask ", console.display())), "{run:#?}");
    assert_eq!(calls(&play).len(), 2);
    let all = play.xtask(&["bench", "--quick"]).ok();
    let browse = play.path("target/some-system/debug/etcd-browse");
    assert!(all.stdout.contains(&format!(" --browse {} --xtask ", browse.display())), "{all:#?}");
    assert_eq!(calls(&play).len(), 3);
}

#[test]
fn a_build_of_all_tests_has_built_the_program_too() {
    let play = checkout(|play| play.path("target"));
    // Cargo puts it there for the program's own tests.
    build_by_hand(&play, &play.path("target"));
    let (system, debug) = (play.path("target/some-system/debug"), play.path("target/debug"));
    fs::rename(system, debug).unwrap();
    let builds = || calls(&play).iter().filter(|call| call.contains("--package") || call.contains(" build ")).count();
    play.xtask(&["test", "--runner", "cargo", "--endpoints", "http://127.0.0.1:1", "--", "-p", "a"]);
    assert_eq!(builds(), 1, "a part of the tests proves nothing");
    fs::remove_file(play.path("target/debug/.etcd-console-is-fresh")).unwrap();
    play.xtask(&["test", "--runner", "cargo", "--endpoints", "http://127.0.0.1:1"]);
    play.xtask(&["runs"]);
    assert_eq!(builds(), 1, "{:#?}", calls(&play));
}

#[test]
fn that_a_build_waits_for_another_cargo_is_told() {
    let play = with_cargo(BUILDS);
    play.xtask(&["runs"]).ok();
    let debug = play.path("target/debug");
    fs::remove_file(debug.join(".etcd-console-is-fresh")).unwrap();
    let lock = fs::File::create(debug.join(".cargo-lock")).unwrap();
    lock.lock().unwrap();
    let said = play.xtask(&["runs"]).ok().stderr;
    assert!(said.contains("waiting for another cargo, which builds in `target`"), "{said}");
    drop(lock);
    fs::remove_file(debug.join(".etcd-console-is-fresh")).unwrap();
    assert!(!play.xtask(&["runs"]).ok().stderr.contains("waiting"));
}

#[test]
fn a_target_folder_that_was_copied_has_a_program_of_its_own() {
    let play = with_cargo(BUILDS);
    play.xtask(&["runs"]).ok();
    let (target, copy) = (play.path("target"), play.path("copy"));
    let copied = std::process::Command::new("cp").arg("-a").args([&target, &copy]).status();
    assert!(copied.unwrap().success());
    let play = play.with("CARGO_TARGET_DIR", &copy);
    for _ in 0..2 {
        let run = play.xtask(&["runs"]).ok();
        assert!(run.stdout.contains(&format!("built: {}", copy.display())), "{run:#?}");
    }
    assert_eq!(calls(&play).len(), 2, "what is fresh is not built again");
}

/// A checkout with sources of its own, whose target folder is `target`.
fn checkout(target: impl FnOnce(&Playground) -> PathBuf) -> Playground {
    let play = with_cargo(BUILDS);
    for file in ["crates/etcd-xtask/Cargo.toml", "crates/etcd-console/Cargo.toml", "crates/etcd-console/src/main.rs"] {
        fs::create_dir_all(play.path(file).parent().unwrap()).unwrap();
        fs::write(play.path(file), "").unwrap();
    }
    fs::write(play.path("Cargo.lock"), "").unwrap();
    let target = target(&play);
    play.with("CARGO_TARGET_DIR", target)
}

#[track_caller]
fn runs_its_own(play: &Playground) {
    let run = play.xtask(&["runs"]).ok();
    assert!(run.stdout.contains(&format!("by: {}\n", play.dir.path().display())), "{run:#?}");
}

/// As `cargo build -p etcd-console` there, of which xtask hears nothing.
fn build_by_hand(play: &Playground, target: &Path) {
    let manifest = play.path("crates/etcd-console/Cargo.toml");
    let mut cargo = std::process::Command::new(play.path("bin/cargo"));
    cargo.arg("--manifest-path").arg(manifest).current_dir(play.dir.path()).env("CARGO_TARGET_DIR", target);
    assert!(cargo.output().unwrap().status.success());
}

#[test]
fn checkouts_that_share_a_target_folder_each_run_their_own_program() {
    let target = tempfile::tempdir().unwrap();
    let (one, other) = (checkout(|_| target.path().into()), checkout(|_| target.path().into()));
    for play in [&one, &one, &other, &other, &one] {
        runs_its_own(play);
    }
    assert_eq!((calls(&one).len(), calls(&other).len()), (1, 1), "what is fresh is not built again");
    build_by_hand(&other, target.path());
    runs_its_own(&one);
}

#[test]
fn what_another_checkout_built_into_this_ones_target_folder_is_not_fresh() {
    let (one, other) = (checkout(|play| play.path("target")), checkout(|play| play.path("target")));
    runs_its_own(&one);
    build_by_hand(&other, &one.path("target"));
    for _ in 0..2 {
        runs_its_own(&one);
    }
    assert_eq!(calls(&one).len(), 2);
    let built =
        fs::read_dir(one.path("target")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        built.into_iter().any(|name| name.starts_with("etcd-console-")),
        "cargo may take one's crates for the other's"
    );
}

#[test]
fn a_build_that_builds_nothing_is_told() {
    with_cargo("").xtask(&["runs"]).fails(1, &["etcd-console could not be built", "doctor"]);
    with_cargo("exit 101").xtask(&["runs"]).fails(1, &["etcd-console could not be built", "doctor"]);
}

#[test]
fn an_interrupt_ends_a_build() {
    for signal in [Signal::INT, Signal::TERM] {
        let play = with_cargo("exec sleep 600");
        let child = play.command(&["run", "--", "true"]).spawn().unwrap();
        assert!(eventually(|| !calls(&play).is_empty()));
        let began = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let run = finish_child(child);
        assert_eq!((run.code, run.stderr.contains("error")), (Some(130), false), "{run:#?}");
        assert!(began.elapsed() < TIMEOUT);
    }
}

#[test]
fn a_build_ends_when_its_owner_is_killed() {
    // As rustc is, a child of cargo's.
    let play = with_cargo("sleep 600 & echo $! >> \"${0%/*}/../calls\"; wait");
    let mut child = play.command(&["run", "--", "true"]).spawn().unwrap();
    assert!(eventually(|| calls(&play).len() == 2));
    let compiler: i32 = calls(&play).remove(1).parse().unwrap();
    let is_running = || test_kill_process(Pid::from_raw(compiler).unwrap()).is_ok();
    assert!(is_running());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(eventually(|| !is_running()), "pid {compiler} goes on");
}

#[test]
fn offline_holds_for_builds_too() {
    for (args, offline) in [(&["--offline"][..], "offline=true "), (&[], "offline= ")] {
        let play = with_cargo("");
        play.xtask(&[&["test", "--runner", "cargo"], args].concat()).fails(1, &["could not be built"]);
        let calls = calls(&play);
        assert!(calls.len() == 2 && calls.iter().all(|call| call.starts_with(offline)), "{calls:#?}");
    }
}
