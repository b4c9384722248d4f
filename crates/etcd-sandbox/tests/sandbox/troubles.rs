//! No etcd, an etcd that dies, variables that are not valid: one clear error each, soon.

use std::time::{Duration, Instant};

use etcd_sandbox::runs::RunId;

use crate::fixture::{FORMS, Finished, Server, TEST_ROOT, count, eventually, finish, finished, subject, workspace};

/// Far less than a hang, and far more than timeouts of five and ten seconds take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn without_etcd_all_tests_of_a_process_fail_at_once_and_say_what_to_do() {
    // A port that nobody listens on, and one where nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    for port in [testkit::free_port(), silent] {
        let dir = workspace();
        let began = Instant::now();
        let mut command = subject(dir.path(), &["forms::"]);
        // One after the other: if each test waited by itself, they would take minutes.
        command.args(["--test-threads", "1"]).env("ETCD_ENDPOINTS", format!("http://127.0.0.1:{port}"));
        let run = finish(command.spawn().unwrap());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(run.code, Some(101), "{}", run.out);
        run.says(&[
            &format!("0 passed; {FORMS} failed"),
            "no etcd answers at",
            "because: ",
            "ETCD_ENDPOINTS leads there; without it",
        ]);
        assert_eq!(run.out.matches("no etcd answers at").count(), FORMS);
    }
}

#[rstest::rstest]
#[tokio::test]
async fn an_etcd_that_dies_under_a_test_is_an_error_within_seconds(
    #[values("writes_until_etcd_is_gone", "waits_for_a_key")] scenario: &str,
    #[values("-KILL", "-STOP")] signal: &str,
) {
    let server = Server::start();
    let registry = server.registry().await;
    let child = server.scenario(scenario).spawn().unwrap();
    eventually("it writes", async || registry.list().await.unwrap().runs.first().is_some_and(|run| run.keys > 0)).await;
    let began = Instant::now();
    server.signal(signal);
    let run = tokio::task::spawn_blocking(|| finish(child)).await.unwrap();
    server.signal("-CONT");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(run.code, Some(101), "{}", run.out);
    assert!(["no etcd answers", "no answer in time"].iter().any(|why| run.out.contains(why)), "{}", run.out);
}

async fn with(server: &Server, run: Option<&str>, prefix: Option<&str>) -> Finished {
    let mut command = server.subject(&["forms::plain"]);
    command.envs(run.map(|run| ("ETCD_TEST_RUN", run))).envs(prefix.map(|prefix| ("ETCD_TEST_PREFIX", prefix)));
    finished(command).await
}

#[tokio::test]
async fn variables_that_are_not_valid_are_named() {
    let server = Server::start();
    let id = RunId::fresh().unwrap().to_string();
    let prefix = format!("{TEST_ROOT}{id}/");
    let other = format!("{TEST_ROOT}{}/", RunId::fresh().unwrap());
    for (run, of, words) in [
        (Some("../x"), Some(prefix.as_str()), ["ETCD_TEST_RUN", "is not a run id"]),
        (Some("a/b"), Some("/a/b/"), ["ETCD_TEST_RUN", "is not a run id"]),
        (Some("."), Some("/a/./"), ["ETCD_TEST_RUN", "is not a run id"]),
        (Some(id.as_str()), Some(other.as_str()), ["ETCD_TEST_PREFIX", "does not end in"]),
        (Some(id.as_str()), None, ["ETCD_TEST_RUN", "ETCD_TEST_PREFIX is not set"]),
        (None, Some(prefix.as_str()), ["ETCD_TEST_PREFIX", "ETCD_TEST_RUN is not set"]),
        (Some(id.as_str()), Some(prefix.as_str()), ["is not registered", "cargo xtask run"]),
    ] {
        let run = with(&server, run, of).await;
        assert_eq!(run.code, Some(101), "{}", run.out);
        run.says(&words);
    }
    assert_eq!(count(&server.registry().await, "").await, 0, "nothing is written");
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_joined() {
    let server = Server::start();
    let registry = server.registry().await;
    let run = server.run(&registry, |plan| plan, 0).await;
    let (id, prefix) = (run.id().to_string(), run.prefix());
    run.keep().await.unwrap();
    with(&server, Some(&id), Some(&prefix)).await.says(&["is being swept", "0 passed; 1 failed"]);
}

#[tokio::test]
async fn a_root_that_is_not_valid_is_refused_before_anything_is_written() {
    let server = Server::start();
    let lines = [
        "test-root = ''",
        "test-root = '/'",
        "test-root = '..'",
        "test-root = '/other'",
        "root = '/'",
        "root = ''",
        "",
    ];
    for line in lines {
        let manifest = format!("[workspace]\n[workspace.metadata.etcd]\n{line}\n");
        std::fs::write(server.dir.path().join("Cargo.toml"), manifest).unwrap();
        let run = with(&server, None, None).await;
        assert_eq!(run.code, Some(101), "{}", run.out);
        run.says(&["Cargo.toml", "root"]);
    }
    assert_eq!(count(&server.registry().await, "").await, 0);
}

#[tokio::test]
async fn a_workspace_whose_path_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;

    let server = Server::start();
    let dir = server.dir.path().join(std::ffi::OsStr::from_bytes(b"W\xfcrfel"));
    std::fs::create_dir_all(dir.join(".etcd")).unwrap();
    std::fs::write(dir.join("Cargo.toml"), "[workspace.metadata.etcd]\nroot = \"/a\"\n").unwrap();
    let mut command = server.subject(&["forms::plain"]);
    command.env("CARGO_MANIFEST_DIR", &dir);
    let run = finished(command).await;
    assert_eq!(run.code, Some(101), "{}", run.out);
    run.says(&["cannot make the run's lock in", "W\u{fffd}rfel/.etcd/.runs", "not UTF-8"]);
    assert!(!dir.join(".etcd/.runs").exists());
    assert_eq!(count(&server.registry().await, "").await, 0);
}

#[tokio::test]
async fn a_directory_of_locks_that_cannot_be_used_is_named() {
    let server = Server::start();
    std::fs::write(server.lock_dir(), "no directory").unwrap();
    let run = with(&server, None, None).await;
    assert_eq!(run.code, Some(101));
    run.says(&["cannot make the run's lock in", ".etcd/.runs"]);
}
