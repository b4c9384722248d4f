//! `cargo xtask test` on a small project: what its tests are given, and what is left afterwards.

use std::fs;

use crate::playground::{Playground, Run, build_console, skipped};

/// A project whose one test passes or fails as PLAY says, and shows what it was given.
fn project() -> Playground {
    build_console();
    let play = Playground::new().that_builds();
    let manifest = "[package]\nname = \"play\"\nedition = \"2021\"\n\n[workspace]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n";
    fs::write(play.path("Cargo.toml"), manifest).unwrap();
    fs::create_dir(play.path("src")).unwrap();
    let lib = r#"
//! ```
//! assert!(std::env::var("ETCD_ENDPOINTS").is_ok());
//! ```

#[test]
fn shows() {
    use std::io::{Read, Write};
    let var = |name: &str| std::env::var(name).unwrap();
    let url = var("ETCD_ENDPOINTS");
    assert_eq!((url.clone(), "3".to_string()), (var("ETCDCTL_ENDPOINTS"), var("ETCDCTL_API")));
    assert_eq!(var("ETCD_TEST_PREFIX"), format!("/Inventory/v1/Test/{}/", var("ETCD_TEST_RUN")));
    let mut socket = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    socket.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("true"), "{answer}");
    std::fs::write("seen", url).unwrap();
    assert!(std::env::var("PLAY").is_err(), "as asked");
}
"#;
    fs::write(play.path("src/lib.rs"), lib).unwrap();
    play
}

fn test(play: &Playground, args: &[&str]) -> Run {
    let line: Vec<&str> = ["test"].iter().chain(args).copied().collect();
    play.xtask(&line)
}

fn seen(play: &Playground) -> String {
    fs::read_to_string(play.path("seen")).unwrap()
}

#[test]
fn an_ephemeral_etcd_serves_and_is_gone() {
    let play = project();
    let run = test(&play, &["--runner", "cargo"]).ok();
    assert!(run.stderr.contains("an ephemeral etcd 3.7.2") && run.stderr.contains("tests passed"), "{run:?}");
    assert!(run.stderr.contains("Doc-tests"), "{run:?}");
    assert!(play.processes().is_empty());
    assert_eq!(fs::read_dir(play.path("tmp")).unwrap().count(), 0, "nothing temporary stays");
    // The first command here: git sees nothing of it, and nobody else does.
    assert_eq!(fs::read_to_string(play.path(".etcd/.gitignore")).unwrap(), "*\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(play.path(".etcd")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_running_instance_is_used_and_left_running() {
    let play = project();
    let up = play.up(&[]);
    test(&play, &["--runner", "cargo"]).ok();
    assert_eq!(seen(&play), up.endpoints[0]);
    assert_eq!(play.status().pids, up.pids);
    test(&play, &["--runner", "cargo", "--ephemeral"]).ok();
    assert_ne!(seen(&play), up.endpoints[0]);
    test(&play, &["--runner", "cargo", "--etcd", "^3.5"]).ok();
    assert_ne!(seen(&play), up.endpoints[0]);
}

#[test]
fn the_tests_status_is_ours() {
    let play = project().with("PLAY", "fail");
    let run = test(&play, &["--runner", "cargo"]);
    assert_eq!(run.code, Some(101), "{run:?}");
    assert!(run.stderr.contains("tests failed"), "{run:?}");
    fs::write(play.path("src/lib.rs"), "this is no Rust").unwrap();
    let run = test(&play, &["--runner", "cargo"]);
    assert_eq!(run.code, Some(101), "{run:?}");
    assert!(!run.stderr.contains("ephemeral"), "nothing is started for tests that do not build: {run:?}");
    assert!(play.processes().is_empty());
}

#[test]
fn arguments_are_passed_on_and_a_cluster_elsewhere_is_used() {
    let (play, elsewhere) = (project(), Playground::new());
    let there = elsewhere.up(&[]).endpoints[0].clone();
    let run = test(&play, &["--runner", "cargo", "--endpoints", &there, "--", "--lib", "shows"]).ok();
    assert!(!run.stderr.contains("Doc-tests"), "{run:?}");
    assert_eq!(seen(&play), there);
    fs::remove_file(play.path("seen")).unwrap();
    let run = test(&play, &["--runner", "cargo", "--endpoints", &there, "--", "--doc"]).ok();
    assert!(run.stderr.contains("Doc-tests"), "{run:?}");
    let run = test(&play, &["--runner", "cargo", "--endpoints", &there, "shows", "--lib"]).ok();
    assert!(run.stderr.contains("tests passed") && !run.stderr.contains("Doc-tests"), "{run:?}");
    let play = play.with("ETCD_ENDPOINTS", &there);
    test(&play, &["--runner", "cargo"]).ok();
    assert_eq!(seen(&play), there);
}

#[test]
fn nextest_is_taken_where_it_is_installed_and_doctests_run_all_the_same() {
    let play = project();
    let run = test(&play, &["--runner", "nextest"]);
    if run.stderr.contains("nextest is not installed") {
        return skipped("nextest is not installed");
    }
    let run = run.ok();
    assert!(run.stderr.contains("1 passed") && run.stderr.contains("Doc-tests"), "{run:?}");
    // `env` runs what it is given, as a debugger does.
    let run = test(&play, &["--runner", "nextest", "--", "--debugger", "env", "shows"]).ok();
    assert!(run.stderr.contains("1 passed"), "{run:?}");
    let play = play.with("PLAY", "fail");
    assert_eq!(test(&play, &["--runner", "nextest"]).code, Some(100));
}
