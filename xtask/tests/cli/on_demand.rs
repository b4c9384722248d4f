//! Programs that are built when a command needs them, with a cargo that only says what it was asked: where the program
//! is found, what an interrupt does to the build, and whether the network is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::playground::{PATIENCE, Playground, eventually};
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
dir=$CARGO_TARGET_DIR/some-system/debug
mkdir -p "$dir"
printf '#!/bin/sh\necho "built: $0 $*"\n' > "$dir/etcd-console"
chmod +x "$dir/etcd-console"
printf 'x: %s\n' "$(printf %s "$MANIFEST" | sed 's/ /\\ /g')" > "$dir/etcd-console.d"
echo '{"reason":"compiler-artifact","target":{"name":"etcd-keys"},"executable":null}'
echo "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"etcd-console\"},\"executable\":\"$dir/etcd-console\"}"
"#;
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

#[test]
fn a_program_is_where_cargo_says() {
    let play = with_cargo(BUILDS).with("MANIFEST", MANIFEST);
    for _ in 0..2 {
        let run = play.xtask(&["runs"]).ok();
        assert!(run.stdout.contains("built: ") && run.stdout.contains("runs"), "{run:#?}");
    }
    assert_eq!(calls(&play).len(), 1, "what is fresh is not built again");
}

#[test]
fn each_of_two_builds_is_told_once_and_says_what_it_is_for() {
    let play = with_cargo(BUILDS).with("MANIFEST", MANIFEST);
    for (args, words) in
        [(["runs", "-q"], ""), (["get", "k"], "optimised for large numbers of keys"), (["get", "k"], "")]
    {
        let said = play.xtask(&args).ok().stderr;
        assert_eq!(said.lines().collect::<Vec<_>>().len(), usize::from(!words.is_empty()), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let said = with_cargo(BUILDS).with("MANIFEST", MANIFEST).xtask(&["runs"]).ok().stderr;
    assert_eq!(said, "building etcd-console as tests are built, for what test runs need of it; this happens once\n");
}

#[test]
fn a_target_folder_that_was_copied_has_a_program_of_its_own() {
    let play = with_cargo(BUILDS).with("MANIFEST", MANIFEST);
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
        assert!(began.elapsed() < PATIENCE);
    }
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
