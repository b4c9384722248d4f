//! A short form of each torture, with a fixed seed: `cargo xtask torture` runs the long ones. A torture that finds a
//! violation says how to repeat it, and none leaves anything behind.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use testkit::eventually;

/// A torture with its own directory for temporary files.
struct Torture {
    tmp: tempfile::TempDir,
    command: Command,
}

impl Torture {
    fn new(args: &[&str]) -> Self {
        Self::of(program("xtask"), args)
    }

    fn of(xtask: &Path, args: &[&str]) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-proof"));
        command.arg("--xtask").arg(xtask).arg("--console").arg(program("etcd-console"));
        command
            .args(["torture", "--seed", "7"])
            .args(args)
            .env("TMPDIR", tmp.path())
            .envs(testkit::GO)
            .stdin(Stdio::null());
        Self { tmp, command }
    }

    fn run(&mut self) -> Output {
        self.command.output().unwrap()
    }

    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(self.tmp.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn processes(&self) -> Vec<String> {
        let mark = self.tmp.path().to_str().unwrap();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ");
        let lines = entries.map(|entry| (read(entry.path().join("cmdline")), read(entry.path().join("environ"))));
        lines.filter(|(line, environ)| line.contains(mark) || environ.contains(mark)).map(|(line, _)| line).collect()
    }
}

/// A program of this workspace, built if it is missing.
fn program(name: &str) -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    let dir = PROGRAMS.get_or_init(|| {
        let dir = Path::new(env!("CARGO_BIN_EXE_etcd-proof")).parent().unwrap().to_owned();
        if !["xtask", "etcd-console"].iter().all(|name| dir.join(name).is_file()) {
            let build = Command::new("cargo").args(["build", "--quiet", "-p", "xtask", "-p", "etcd-console"]).status();
            assert!(build.unwrap().success());
        }
        dir
    });
    Path::new(Box::leak(dir.join(name).into_boxed_path()))
}

/// Runs a part, which finds nothing and leaves nothing.
#[track_caller]
fn holds(name: &str, part: &str, rounds: &str) {
    let mut torture = Torture::new(&[name, "--only", part, "--rounds", rounds]);
    let output = torture.run();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find(|line| line.starts_with(&format!("{name} {part}:"))).expect(&said);
    assert!(said.starts_with("seed 7\n"), "{said}");
    assert!(line.contains(&format!(" {rounds} rounds")) || line.contains("skipped: "), "{line}");
    assert_eq!((torture.left(), torture.processes()), (Vec::new(), Vec::new()));
}

#[test]
fn the_help_names_all_parts_and_no_hidden_option() {
    for name in ["up", "runs", "watch", "delete", "cluster"] {
        let wrong = Torture::new(&[name, "--only", "guess"]).run();
        let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert_eq!(wrong.status.code(), Some(2), "{said}");
        let parts = said.lines().find_map(|line| Some(line.split_once("the parts are ")?.1)).expect(&said);
        let help = String::from_utf8(Torture::new(&["--help"]).run().stdout).unwrap();
        // Long lines are broken.
        let words: Vec<&str> = help.split_whitespace().collect();
        assert!(words.join(" ").contains(&format!(": {parts}")), "{parts}: {help}");
        assert!(help.contains("Usage: cargo xtask torture [OPTIONS] [NAME]\n"), "{help}");
    }
    let bench = Command::new(env!("CARGO_BIN_EXE_etcd-proof")).args(["--xtask", "x", "bench", "--help"]).output();
    let help = String::from_utf8(bench.unwrap().stdout).unwrap();
    assert!(help.contains("Usage: cargo xtask bench [OPTIONS] [NAME]...\n"), "{help}");
}

#[test]
fn kills() {
    holds("up", "kills", "4");
}

#[test]
fn parallel_starts() {
    holds("up", "parallel", "1");
}

#[test]
fn taken_ports() {
    holds("up", "ports", "2");
}

#[test]
fn forged_state() {
    holds("up", "forged", "3");
}

#[test]
fn paused_servers() {
    holds("up", "paused", "1");
}

#[test]
fn full_disks() {
    holds("up", "disk", "2");
}

#[test]
fn kills_under_load() {
    holds("up", "load", "1");
}

#[test]
fn killed_runs() {
    holds("runs", "killed", "1");
}

#[test]
fn runs_on_a_stopped_server() {
    holds("runs", "stopped", "1");
}

#[test]
fn members_that_fail() {
    holds("cluster", "faults", "1");
}

#[test]
fn watch_faults() {
    holds("watch", "faults", "1");
}

#[test]
fn killed_dels() {
    holds("delete", "dels", "2");
}

#[test]
fn damaged_undo_files() {
    holds("delete", "undo-files", "1");
}

/// An `xtask` whose answer is wrong, as that of a broken product.
#[test]
fn a_violation_is_reported_with_a_way_to_repeat_it_and_its_directory_stays() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("xtask");
    let ready =
        r#"{"instance":"default","state":"ready","endpoints":[],"answers":true,"pids":[1],"data_dir":"","log":""}"#;
    fs::write(&broken, format!("#!/bin/sh\necho '{ready}'\n")).unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let mut torture = Torture::of(&broken, &["up", "--only", "paused", "--rounds", "3"]);
    let output = torture.run();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: torture up, paused, round 1: `etcd-up` says pids [1], there are []"), "{said}");
    assert!(
        said.contains("hint: `cargo xtask torture up --only paused --seed 7 --round 1` repeats this round"),
        "{said}"
    );
    let kept = said.lines().find_map(|line| line.trim().strip_prefix("kept: ")).expect(&said);
    assert!(Path::new(kept).join("paused-0000001/output-w/0000.out").is_file(), "{said}");
    assert!(torture.processes().is_empty());
}

/// kill -9 of the torture itself while its servers run: its guard leaves nothing.
#[test]
fn a_torture_that_is_killed_leaves_nothing() {
    let mut torture = Torture::new(&["up", "--only", "load", "--rounds", "50"]);
    let mut running = torture.command.stdout(Stdio::null()).spawn().unwrap();
    assert!(
        eventually(|| torture.processes().iter().any(|line| line.contains("--data-dir="))),
        "never: a server of it runs"
    );
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(eventually(|| torture.processes().is_empty() && torture.left().is_empty()), "never: all is gone");
}

#[test]
fn an_unknown_part_is_refused_with_the_known_parts() {
    let output = Torture::new(&["watch", "--only", "nothing"]).run();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no part `nothing`") && said.contains("faults"), "{said}");
}
