//! `cargo xtask test` in a workspace whose root is a package, too: either runner runs the same tests, of the same
//! packages, and takes the same options.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::playground::{Playground, Run, build_console, finish, skipped};

/// Two packages, `top` at the root and `low` in `low`; each has a test that leaves its package's name in `seen`, a test
/// that fails if FAIL names it; `low` has a documentation test.
fn project() -> Playground {
    build_console();
    let play = Playground::new().that_builds();
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n\n");
    let root =
        "[workspace]\nmembers = [\"low\"]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n";
    let doc = r#"
//! ```
//! std::fs::write(format!("{}/doc", std::env::var("SEEN").unwrap()), "").unwrap();
//! ```
"#;
    let lib = r#"
#[test]
fn leaves_a_name() {
    let seen = std::env::var("SEEN").unwrap();
    std::fs::write(format!("{seen}/{}", env!("CARGO_PKG_NAME")), "").unwrap();
}

#[test]
fn fails_if_asked_to() {
    assert!(std::env::var("FAIL").is_err(), "as asked");
}
"#;
    // All calls that run documentation tests are to run those of `low`.
    for (dir, manifest, doc) in [("", package("top") + root, ""), ("low", package("low"), doc)] {
        fs::create_dir_all(play.path(dir).join("src")).unwrap();
        fs::write(play.path(dir).join("Cargo.toml"), manifest).unwrap();
        fs::write(play.path(dir).join("src/lib.rs"), format!("{doc}{lib}")).unwrap();
    }
    let seen = play.path("seen");
    play.with("SEEN", seen)
}

/// `cargo xtask test` in a folder; which packages' tests ran, and `doc` for documentation tests.
fn test(play: &Playground, dir: &str, args: &[&str]) -> (Run, BTreeSet<String>) {
    let _ = fs::remove_dir_all(play.path("seen"));
    fs::create_dir(play.path("seen")).unwrap();
    let mut command = play.command(&[&["test"], args].concat());
    command.current_dir(play.path(dir));
    let run = finish(command);
    let seen = fs::read_dir(play.path("seen")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (run, seen.collect())
}

/// Those that are installed.
fn runners() -> Vec<&'static str> {
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        return vec!["cargo", "nextest"];
    }
    skipped("nextest is not installed: only plain cargo is tried");
    vec!["cargo"]
}

#[test]
fn either_runner_runs_the_same_tests() {
    std::thread::scope(|scope| {
        for runner in runners() {
            scope.spawn(move || runs_the_same_tests(runner));
        }
    });
}

fn runs_the_same_tests(runner: &str) {
    let play = project();
    play.up(&[]);
    for (dir, args, wanted) in [
        ("", &[][..], &["doc", "low", "top"][..]),
        ("", &["--no-fail-fast", "-j", "1", "--nocapture", "-q"], &["doc", "low", "top"]),
        ("", &["--test-threads", "1", "-p", "low", "--instance", "default"], &["doc", "low"]),
        ("", &["--lib", "leaves"], &["low", "top"]),
        ("", &["--exact", "tests::none", "--", "--skip", "x"], &[]),
        ("", &["--", "-p", "top", "leaves", "--", "--nocapture"], &["top"]),
        ("", &["-p", "low", "--doc"], &["doc"]),
        ("low/src", &[], &["doc", "low"]),
        ("low", &["--workspace", "--exclude", "low", "--lib"], &["top"]),
    ] {
        let (run, seen) = test(&play, dir, &[&["--runner", runner], args].concat());
        // nextest takes it for a mistake if nothing is left to run.
        assert!(run.code == Some(0) || (wanted.is_empty() && run.code == Some(4)), "{runner} {args:?}: {run:#?}");
        assert_eq!(seen.iter().collect::<Vec<_>>(), wanted, "{runner} {args:?} in `{dir}`: {run:#?}");
    }
}

#[test]
fn after_a_failure_no_documentation_tests_are_between_it_and_the_end() {
    let play = project().with("FAIL", "1");
    play.up(&[]);
    for runner in runners() {
        let (run, seen) = test(&play, "", &["--runner", runner]);
        assert_ne!(run.code, Some(0), "{runner}: {run:#?}");
        assert!(!seen.contains("doc") && !run.stderr.contains("Doc-tests"), "{runner}: {run:#?}");
        assert!(run.stderr.contains("  etcd log: "), "{runner}: {run:#?}");
        // cargo's test binaries tell it on stdout, nextest on stderr.
        let said = if runner == "cargo" { run.stdout } else { run.stderr };
        let lines: Vec<&str> = said.lines().collect();
        let last = lines.iter().rposition(|line| line.contains("fails_if_asked_to")).unwrap();
        assert!(lines.len() - last < 12, "{runner}: {said}");
    }
}

#[test]
fn what_only_nextest_can_do_is_refused_before_anything_is_built() {
    let play = project();
    for args in [&["-E", "all()"][..], &["--retries=2"], &["-p", "low", "--partition", "count:1/2"]] {
        let (run, _) = test(&play, "", &[args, &["--runner", "cargo"]].concat());
        run.fails(2, &["is an option of nextest", "cargo-nextest"]);
    }
    assert!(!play.path("target").exists());
    if runners().contains(&"nextest") {
        let (run, seen) = test(&play, "", &["--runner", "nextest", "-E", "package(low) and test(leaves)"]);
        assert_eq!((run.ok().code, seen.into_iter().collect::<Vec<_>>()), (Some(0), vec!["low".to_owned()]));
    }
}
