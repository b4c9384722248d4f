//! `cargo xtask test --report`: what is in the report of a run, however the run ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::finish_child;

use crate::playground::{Playground, Run, build_console, eventually, finish, skipped};

/// A project with a test that passes, one that fails, and one that waits if WAIT is set. They leave what a sandbox would:
/// keys in etcd, and the timeline of the failed test.
fn project() -> Playground {
    project_in(Playground::new())
}

fn project_in(play: Playground) -> Playground {
    build_console();
    let play = play.that_builds();
    let manifest = "[package]\nname = \"play\"\nedition = \"2021\"\n\n[workspace]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n";
    fs::write(play.path("Cargo.toml"), manifest).unwrap();
    fs::create_dir(play.path("src")).unwrap();
    let lib = r##"
#[cfg(test)]
fn put(key: &str) {
    let (xtask, run) = (std::env::var("XTASK").unwrap(), std::env::var("ETCD_TEST_PREFIX").unwrap());
    let key = if key.starts_with('/') { key.to_owned() } else { run + key };
    let put = std::process::Command::new(xtask).args(["put", &key, "x"]).output().unwrap();
    assert!(put.status.success(), "{put:?}");
}

#[test]
fn a_writes() {
    put("play.a_writes~1/a");
    put("play.a_writes~1/a");
    put("play.a_writes~1/b");
    if std::env::var("ESCAPE").is_ok() {
        put("/Inventory/v1/racks/1");
    }
}

#[test]
fn b_fails() {
    if std::env::var("ABORT").is_ok() {
        put("play.b_fails~2/a");
        eprintln!("Sandbox(`{}play.b_fails~2/` at the etcd)", std::env::var("ETCD_TEST_PREFIX").unwrap());
        std::process::abort();
    }
    put("elsewhere~1/a");
    if let Ok(dir) = std::env::var("ETCD_TEST_TIMELINES") {
        let timeline = r#"{"sandbox":"play.b_fails~1","suite":null,"test":null,"attempt":null,"entries":[{"note":"</script>"}]}"#;
        std::fs::write(format!("{dir}/play.b_fails~1.json"), timeline).unwrap();
    }
    if let Ok(path) = std::env::var("FILL") {
        let mut file = std::fs::File::create(path).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 1000]).is_ok() {}
    }
    panic!("as asked: <b>\u{1b}[31m");
}

#[test]
fn c_waits() {
    if std::env::var("WAIT").is_ok() {
        std::fs::write("waits", "").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
}
"##;
    fs::write(play.path("src/lib.rs"), lib).unwrap();
    play.with("XTASK", env!("CARGO_BIN_EXE_xtask"))
}

/// The directories of the runs in a folder of reports.
fn runs(reports: PathBuf) -> Vec<PathBuf> {
    let mut runs: Vec<PathBuf> = fs::read_dir(reports).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

fn document(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap()
}

/// Runs a line as a user who pastes it.
fn in_shell(play: &Playground, line: &str) -> Run {
    let xtask = play.command::<&str>(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(play.dir.path()).env_clear();
    shell.envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(shell)
}

fn runners() -> Vec<&'static str> {
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        return vec!["cargo", "nextest"];
    }
    skipped("nextest is not installed: only plain cargo is tried");
    vec!["cargo"]
}

#[test]
fn the_report_has_every_test_and_the_timelines_of_those_that_failed() {
    let play = project();
    for runner in runners() {
        let dir = format!("reports/{runner}");
        let run = play.xtask(&["test", "--runner", runner, "--report", &dir, "--no-fail-fast", "--lib"]);
        assert!(run.code.is_some_and(|code| code > 0), "{run:#?}");
        let [path] = &runs(play.path(&dir))[..] else { panic!("one run, one directory: {run:#?}") };
        let page = path.join("report.html");
        assert!(run.stderr.contains(&format!("  report: {dir}/")) && run.stderr.contains("/report.html\n"), "{run:#?}");
        let html = fs::read_to_string(&page).unwrap();
        assert!(html.contains("1 of 3 tests failed") && html.contains("as asked: &lt;b&gt;"), "{run:#?}");
        let report = document(path);
        assert_eq!(report["schema"], 1);
        assert_eq!(report["run"], path.file_name().unwrap().to_str().unwrap());
        assert_eq!((&report["verdict"], &report["exit_code"]), (&"failed".into(), &run.code.into()));
        assert_eq!(report["command"], "cargo xtask test --no-fail-fast --lib");
        assert_eq!((&report["passed"], &report["failed"]), (&2.into(), &1.into()));
        assert_eq!(report["etcd"]["version"], "3.7.2");
        let health = &report["health"][0];
        assert_eq!((&health["fsyncs"], &health["leader_changes"]), (&0.into(), &0.into()), "{report:#}");
        assert_eq!((&health["fsync_p99_seconds"], &health["fault"]), (&Value::Null, &Value::Null), "{report:#}");
        let mut tests = report["tests"].as_array().unwrap().clone();
        tests.sort_by_key(|test| test["name"].to_string());
        let names: Vec<_> = tests.iter().map(|test| (&test["name"], &test["verdict"])).collect();
        let wanted = [("a_writes", "passed"), ("b_fails", "failed"), ("c_waits", "passed")];
        assert_eq!(
            names.iter().map(|(name, verdict)| (name.as_str().unwrap(), verdict.as_str().unwrap())).collect::<Vec<_>>(),
            wanted
        );
        assert_eq!((&tests[0]["changes"], &tests[0]["keys"]), (&3.into(), &2.into()), "{report:#}");
        assert!(tests[1]["output"].as_str().unwrap().contains("as asked: <b>\n"), "{report:#}");
        assert_eq!(tests[1]["timelines"][0]["entries"][0]["note"], "</script>");
        // The command that the report names runs this test, and no other.
        let again = tests[1]["again"].as_str().unwrap().strip_prefix("cargo xtask ").unwrap();
        let alone = in_shell(&play, &format!("\"$XTASK\" {again}"));
        let said = format!("{}{}", alone.stdout, alone.stderr);
        assert!(
            alone.code != Some(0) && said.contains("as asked") && !said.contains("a_writes"),
            "{again}: {alone:#?}"
        );
        assert_eq!(report["other_sandboxes"]["changes"], 1);
        assert_eq!(path.join("junit.xml").exists(), runner == "nextest");
        assert_eq!(tests[0]["seconds"].is_number(), runner == "nextest");
        let left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), if runner == "nextest" { 3 } else { 2 }, "{left:?}");
        assert_eq!(run.stderr.contains("that needs nextest"), runner == "cargo", "{run:#?}");
        assert_eq!(play.xtask(&["report"]).ok().stdout, format!("{}\n", page.display()), "the last one");
        let id = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(play.xtask(&["report", &id[..40]]).ok().stdout, format!("{}\n", page.display()));
        play.xtask(&["report", "2020"]).fails(1, &["the run `2020` has no report", "--report DIR"]);
    }
}

/// As by a stack overflow, or by a system without memory.
#[test]
fn a_test_whose_process_aborts_is_explained_by_the_runs_keeper() {
    if !runners().contains(&"nextest") {
        return;
    }
    let play = project().with("ABORT", "1");
    let args = ["test", "--runner", "nextest", "--lib", "b_fails"];
    for report in [&[][..], &["--report", "reports"]] {
        let run = play.xtask(&[&args[..1], report, &args[1..]].concat());
        assert_eq!(run.code, Some(100), "{run:#?}");
        let (_, told) = run.stderr.split_once("the test play b_fails ended without saying what happened").unwrap();
        assert!(
            told.contains("play.b_fails~2/`, by etcd's history (1 change)") && told.contains("PUT a `x`"),
            "{told}"
        );
    }
    let report = document(&runs(play.path("reports"))[0]);
    let timeline = &report["tests"][0]["timelines"][0];
    assert_eq!((&timeline["entries"][0]["key"], &timeline["seconds"]), (&"a".into(), &Value::Null), "{report:#}");
}

#[test]
fn the_report_of_a_command_has_what_happened_to_all_its_keys() {
    let play = project();
    play.up(&["--members", "3"]);
    let script = r#"for n in 1 2; do "$XTASK" put "${ETCD_TEST_PREFIX}mine/a" $n || exit 1; done
"$XTASK" put /Inventory/v1/racks/1 x && "$XTASK" etcd-member stop m3 && exit 3"#;
    let run = play.xtask(&["run", "--report", "reports", "--", "sh", "-c", script]);
    assert_eq!(run.code, Some(3), "{run:#?}");
    let path = &runs(play.path("reports"))[0];
    let report = document(path);
    assert_eq!((&report["subject"], &report["verdict"]), (&"command".into(), &"failed".into()), "{report:#}");
    assert!(report["command"].as_str().unwrap().starts_with("cargo xtask run -- sh -c 'for n in"), "{report:#}");
    assert_eq!(report["escapes"]["keys"][0], "/Inventory/v1/racks/1", "{report:#}");
    let [timeline] = &report["other_timelines"].as_array().unwrap()[..] else { panic!("one timeline: {report:#}") };
    let changes: Vec<_> =
        timeline["entries"].as_array().unwrap().iter().map(|entry| entry["difference"].as_str().unwrap()).collect();
    assert_eq!((changes, &timeline["keys"]), (vec!["`1`", "`1` → `2`"], &1.into()), "{report:#}");
    let faults: Vec<_> = report["health"].as_array().unwrap().iter().map(|member| &member["fault"]).collect();
    assert_eq!(faults, [&Value::Null, &Value::Null, &"does not answer at the end".into()], "{report:#}");
    let page = fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("<h1>The command failed</h1>") && page.contains("What happened to the keys"), "{page}");
    assert!(play.xtask(&["report"]).ok().stdout.ends_with("/report.html\n"));
}

#[test]
fn github_is_told_of_failed_tests_without_being_asked() {
    let play = project();
    play.xtask(&["report"]).fails(1, &["no run has a report"]);
    let summary = play.path("summary");
    let root = play.dir.path().to_owned();
    let play = play.with("GITHUB_ACTIONS", "true").with("GITHUB_STEP_SUMMARY", &summary).with("GITHUB_WORKSPACE", root);
    let lib = fs::read_to_string(play.path("src/lib.rs")).unwrap();
    let line = 1 + lib.lines().position(|line| line.contains("panic!(")).unwrap();
    let annotation = format!("::error file=src/lib.rs,line={line},title=b_fails failed::as asked: <b>\n");
    for runner in runners() {
        let run = play.xtask(&["test", "--runner", runner, "--no-fail-fast", "--lib"]);
        assert_eq!(run.stdout.matches("::error").count(), 1, "{run:#?}");
        assert!(run.stdout.contains(&annotation), "{run:#?}");
        let told = fs::read_to_string(&summary).unwrap();
        assert!(told.starts_with("## 1 of 3 tests failed\n\nan ephemeral etcd 3.7.2"), "{told}");
        assert!(told.contains("<b>b_fails</b></summary>") && told.contains("as asked: &lt;b&gt;"), "{told}");
        fs::remove_file(&summary).unwrap();
    }
    // A running instance has no directory that ends with the run.
    play.up(&[]);
    let run = play.xtask(&["test", "--no-fail-fast", "--lib", "a_writes"]).ok();
    assert!(!run.stdout.contains("::error"), "{run:#?}");
    assert!(fs::read_to_string(&summary).unwrap().starts_with("## 1 test passed"), "{run:#?}");
    let left: Vec<_> = fs::read_dir(play.path(".etcd")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".nextest")), "{left:?}");
}

#[test]
fn cargo_toml_names_the_folder_and_each_run_has_its_own_directory() {
    let play = project();
    let manifest = fs::read_to_string(play.path("Cargo.toml")).unwrap();
    fs::write(play.path("Cargo.toml"), manifest + "report = \"target/reports\"\n").unwrap();
    play.up(&[]);
    for _ in 0..2 {
        play.xtask(&["test", "--runner", "cargo", "a_writes"]).ok();
    }
    let runs = runs(play.path("target/reports"));
    assert_eq!(runs.len(), 2);
    for run in &runs {
        let report = document(run);
        assert_eq!((&report["verdict"], &report["passed"]), (&"passed".into(), &1.into()));
        assert_eq!(report["command"], "cargo xtask test a_writes");
        assert!(report["health"][0]["fsyncs"].as_u64().is_some_and(|fsyncs| fsyncs > 0), "{report:#}");
    }
}

#[test]
fn escapes_that_are_denied_are_a_failure_in_the_report_too() {
    let play = project().with("ESCAPE", "1").with("GITHUB_ACTIONS", "true");
    let summary = play.path("summary");
    let play = play.with("GITHUB_STEP_SUMMARY", &summary);
    for (flags, verdict, title) in
        [(&[][..], "passed", "1 test passed"), (&["--deny", "escapes"], "failed", "1 test passed, but the run failed")]
    {
        let run = play
            .xtask(&[&["test", "--runner", "cargo", "--report", "reports"], flags, &["--lib", "a_writes"]].concat());
        assert_eq!(run.code, Some(i32::from(verdict == "failed")), "{run:#?}");
        let path = runs(play.path("reports")).into_iter().find(|path| document(path)["verdict"] == verdict).unwrap();
        assert_eq!(document(&path)["escapes"]["changes"], 1);
        let page = fs::read_to_string(path.join("report.html")).unwrap();
        assert!(
            page.contains(&format!("<h1>{title}</h1>")) && page.contains("<code>/Inventory/v1/racks/1</code>"),
            "{page}"
        );
    }
    assert!(fs::read_to_string(&summary).unwrap().contains("## All tests passed, but the run failed"));
}

/// A workspace that has its own idea of where nextest's report goes, as many do for their CI.
#[test]
fn the_junit_file_of_a_workspaces_own_profile_is_taken_too() {
    if !runners().contains(&"nextest") {
        return;
    }
    let play = project();
    fs::create_dir(play.path(".config")).unwrap();
    fs::write(play.path(".config/nextest.toml"), "[profile.ci.junit]\npath = \"own.xml\"\n").unwrap();
    for round in 0..2 {
        play.xtask(&["test", "--report", "reports", "--profile", "ci", "a_writes"]).ok();
        let run = runs(play.path("reports")).pop().unwrap();
        assert!(run.join("junit.xml").exists() && play.path("target/nextest/ci/own.xml").exists(), "round {round}");
        assert_eq!(document(&run)["passed"], 1, "round {round}");
    }
}

#[test]
fn an_interrupted_run_has_a_report_of_what_ran() {
    for runner in runners() {
        let play = project().with("WAIT", "1");
        let args =
            ["test", "--runner", runner, "--report", "reports", "--no-fail-fast", "--lib", "--test-threads", "1"];
        let child = play.command(&args).spawn().unwrap();
        assert!(eventually(|| play.path("waits").exists()));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let run = finish_child(child);
        assert_eq!(run.code, Some(130), "{run:#?}");
        let report = document(&runs(play.path("reports"))[0]);
        assert_eq!(report["verdict"], "interrupted", "{runner}: {report:#}");
        let tests = report["tests"].as_array().unwrap();
        let verdict =
            |name: &str| tests.iter().find(|test| test["name"] == name).map(|test| test["verdict"].as_str().unwrap());
        let verdicts = ["a_writes", "b_fails", "c_waits"].map(verdict);
        // nextest ends the last test, and cargo tells nothing of it.
        let last = (runner == "nextest").then_some("failed");
        assert_eq!(verdicts, [Some("passed"), Some("failed"), last], "{runner}: {report:#}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_said_before_anything_is_built() {
    let play = project();
    // A file, as root may write everywhere.
    fs::write(play.path("taken"), "").unwrap();
    let run = play.xtask(&["test", "--report", "taken"]);
    run.fails(2, &["no report can be written to", "name a directory with `--report`"]);
    assert!(!play.path("target").exists());
    let manifest = fs::read_to_string(play.path("Cargo.toml")).unwrap();
    fs::write(play.path("Cargo.toml"), manifest + "report = \"taken\"\n").unwrap();
    let run = play.xtask(&["test", "--runner", "cargo", "a_writes"]).ok();
    assert!(run.stderr.contains("warning: no report can be written to"), "{run:#?}");
}

#[test]
fn a_full_disk_costs_the_report_and_nothing_else() {
    let Some(play) = Playground::on_tmpfs("200k") else { return };
    let play = project_in(play);
    let filler = play.path("small/filler");
    let play = play.with("FILL", &filler);
    let run = play.xtask(&["test", "--runner", "cargo", "--report", "small/reports", "--no-fail-fast", "--lib"]);
    assert_eq!(run.code, Some(101), "{run:#?}");
    assert!(run.stderr.contains("warning: there is no report of this run: cannot write"), "{run:#?}");
    assert!(!runs(play.path("small/reports"))[0].join("report.json").exists());
}

/// Each run has its own directory: neither disturbs the other.
#[test]
fn two_runs_at_the_same_time_leave_two_reports_in_one_folder() {
    let play = project();
    play.up(&[]);
    play.xtask(&["test", "--runner", "cargo", "a_writes"]).ok();
    let both =
        [(); 2].map(|()| play.command(&["test", "--runner", "cargo", "--report", "r", "a_writes"]).spawn().unwrap());
    for child in both {
        finish_child(child).ok();
    }
    let reports: Vec<Value> = runs(play.path("r")).iter().map(|run| document(run)).collect();
    let changes: Vec<_> = reports.iter().map(|report| report["tests"][0]["changes"].as_u64()).collect();
    assert_eq!(changes, [Some(3), Some(3)], "{reports:#?}");
}
