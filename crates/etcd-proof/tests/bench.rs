//! The real `etcd-proof`, with real etcds: the benches run, and print what they should. No assertion is about a time.

#![cfg(unix)] // signals; on Windows the benches are not proven
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should fail on the spot"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Our programs, as they are built for tests.
fn programs() -> &'static (PathBuf, PathBuf) {
    static PROGRAMS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let dir = Path::new(env!("CARGO_BIN_EXE_etcd-proof")).parent().unwrap();
        let (xtask, console) = (dir.join("xtask"), dir.join("etcd-console"));
        // They are there if the whole workspace was built.
        if !xtask.is_file() || !console.is_file() {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "-p", "xtask", "-p", "etcd-console"]);
            assert!(cargo.status().unwrap().success());
        }
        (xtask, console)
    })
}

/// A private workspace to call `bench` in.
struct TestWorkspace(tempfile::TempDir);

impl TestWorkspace {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        fs::write(
            dir.path().join("Cargo.toml"),
            "[workspace]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n",
        )
        .unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bench(&self, args: &[&str]) -> Command {
        let (xtask, console) = programs();
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-proof"));
        // So that the test builds no etcd-console.
        command.env("ETCD_CONSOLE", console);
        command.arg("--xtask").arg(xtask).arg("--console").arg(console).arg("bench").args(args);
        command.current_dir(self.0.path()).env("CARGO_MANIFEST_DIR", self.0.path()).env("TMPDIR", self.path("tmp"));
        command.env("ETCD_LOCAL_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/etcd-local-cache"));
        command.envs(testkit::GO);
        for name in ["ETCDBINPATH", "ETCD_ENDPOINTS", "ETCD_TEST_PREFIX", "ETCD_TEST_RUN"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.bench(args).output().unwrap()
    }

    /// Nothing is left: no file, and no process that uses one.
    fn is_clean(&self) -> Result<(), String> {
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mark = self.path("tmp").to_str().unwrap().to_owned();
        let lines = fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = lines.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&mark))
            .collect();
        if left.is_empty() && lines.is_empty() { Ok(()) } else { Err(format!("{left:?} {lines:?}")) }
    }
}

fn text_of(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text_of(output)))
}

/// A row is as the format says.
fn check_row(row: &Value) {
    assert!(row["what"].is_string() && ["s", "ms", "%", "MB"].contains(&row["unit"].as_str().unwrap()), "{row}");
    let (least, median, most) = (&row["ours"]["min"], &row["ours"]["median"], &row["ours"]["max"]);
    let [least, median, most] = [least, median, most].map(|figure| figure.as_f64().unwrap());
    assert!(least <= median && median <= most && row["ours"]["runs"].as_u64() > Some(0), "{row}");
    assert_eq!(row["ratio"].is_null(), row["other"].is_null() || row["other"]["median"] == 0.0, "{row}");
    assert!(row["met"].is_null() || row["target"]["at_most"].is_number(), "{row}");
}

#[test]
fn a_bench_answers_with_one_object_and_leaves_nothing() {
    let workspace = TestWorkspace::new();
    let output = workspace.run(&["watch", "--quick", "--rounds", "1", "--format", "json"]);
    assert!(output.status.success(), "{}", text_of(&output));
    let report = report(&output);
    assert_eq!((&report["schema"], &report["quick"]), (&Value::from(2), &Value::from(true)));
    assert!(report["machine"]["cpus"].as_u64() > Some(0) && report["versions"]["etcd"][0] == "3.7.2", "{report}");
    assert_eq!(report["benches"].as_array().unwrap().len(), 1);
    let bench = &report["benches"][0];
    assert_eq!((&bench["name"], &bench["rounds"], &bench["error"]), (&"watch".into(), &1.into(), &Value::Null));
    let rows = bench["rows"].as_array().unwrap();
    rows.iter().for_each(check_row);
    let events = rows.iter().find(|row| row["size"]["of"] == "events").unwrap();
    assert!(events["target"].is_object() && events["met"].is_null(), "the target is for another size: {events}");
    workspace.is_clean().unwrap();
}

#[test]
fn tests_are_isolated() {
    let workspace = TestWorkspace::new();
    let output = workspace.run(&["isolation", "--quick", "--rounds", "1", "--format", "json"]);
    assert!(output.status.success(), "{}", text_of(&output));
    let report = report(&output);
    assert_eq!(report["benches"][0]["error"], Value::Null);
    let rows = report["benches"][0]["rows"].as_array().unwrap();
    rows.iter().for_each(check_row);
    let disk = rows.iter().find(|row| row["what"] == "disk for a test").unwrap();
    assert_eq!((&disk["ours"]["median"], &disk["met"]), (&0.0.into(), &true.into()), "{disk}");
    let tests: Vec<_> = rows.iter().filter_map(|row| row["size"]["count"].as_u64()).collect();
    assert!([1, 10, 100].iter().all(|count| tests.contains(count)), "{tests:?}");
    workspace.is_clean().unwrap();
}

#[test]
fn a_failed_bench_is_reported() {
    let workspace = TestWorkspace::new();
    let output =
        workspace.bench(&["watch", "--quick", "--format", "json"]).env("ETCD_LOCAL_CACHE", "/dev/null").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let bench = &report(&output)["benches"][0];
    assert!(bench["error"].as_str().unwrap().contains("/dev/null") && bench["rows"] == Value::Array(Vec::new()));
    workspace.is_clean().unwrap();
}

#[test]
fn bad_input_is_one_error_before_anything_is_measured() {
    let workspace = TestWorkspace::new();
    for (args, word) in [(["start", "nothing"], "nothing"), (["--rounds", "0"], "--rounds")] {
        let output = workspace.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text_of(&output));
        let errors = text_of(&output).lines().filter(|line| line.starts_with("error: ")).count();
        assert!(errors == 1 && text_of(&output).contains(word), "{args:?}: {}", text_of(&output));
        assert!(output.stdout.is_empty() && !text_of(&output).contains("measuring"), "{args:?}: {}", text_of(&output));
    }
    workspace.is_clean().unwrap();
}

/// `bench` is ended by Ctrl-C or SIGKILL while a server of either side is up.
#[test]
#[cfg(target_os = "linux")]
fn a_bench_that_is_ended_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};

    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        for server in ["/plain-", "/workspace-"] {
            let workspace = TestWorkspace::new();
            let mut bench =
                workspace.bench(&["start", "--quick", "--rounds", "1"]).stderr(Stdio::null()).spawn().unwrap();
            let is_up = || {
                let left = workspace.is_clean().err().unwrap_or_default();
                left.split("--data-dir=").skip(1).any(|line| line.contains(server))
            };
            assert!(testkit::eventually(is_up), "no server was started: {:?}", workspace.is_clean());
            kill_process(Pid::from_child(&bench), signal).unwrap();
            assert_eq!(bench.wait().unwrap().code(), code);
            assert!(testkit::eventually(|| workspace.is_clean().is_ok()), "{:?}", workspace.is_clean());
        }
    }
}
