//! `cargo xtask test` and `run` on several versions of etcd, one after the other.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use testkit::finish_child;

use crate::playground::{Playground, Run, build_console, etcd, eventually};

/// A project with a test that only etcd 3.7 passes.
fn project() -> Playground {
    build_console();
    let play = Playground::new().that_builds();
    let manifest = "[package]\nname = \"play\"\nedition = \"2021\"\n\n[workspace]\n\n[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\nport = \"auto\"\n";
    fs::write(play.path("Cargo.toml"), manifest).unwrap();
    fs::create_dir(play.path("src")).unwrap();
    let lib = r#"
#[cfg(test)]
fn version() -> String {
    use std::io::{Read, Write};
    let url = std::env::var("ETCD_ENDPOINTS").unwrap();
    let mut socket = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    socket.write_all(b"GET /version HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn any_etcd_will_do() {
    assert!(version().contains("\"etcdserver\":\"3."));
}

#[test]
fn wants_a_new_etcd() {
    assert!(version().contains("\"etcdserver\":\"3.7."), "{}", version());
}
"#;
    fs::write(play.path("src/lib.rs"), lib).unwrap();
    play
}

/// The cells of the table that ends the output; the times as `T`.
fn table(run: &Run) -> Vec<Vec<String>> {
    let lines = run.stderr.lines().skip_while(|line| !line.starts_with("VERSION"));
    let cell = |cell: &str| match cell.strip_suffix(" s") {
        Some(seconds) if seconds.parse::<f32>().is_ok() => "T".to_owned(),
        _ => cell.to_owned(),
    };
    lines.map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(cell).collect()).collect()
}

#[test]
fn tests_are_built_once_and_counted_on_each_version() {
    let play = project();
    let header = ["VERSION", "PASSED", "FAILED", "TIME", "FIRST DIFFERENCE", "RESULT"];
    for (runner, code, test) in [("cargo", 101, "wants_a_new_etcd"), ("nextest", 100, "play wants_a_new_etcd")] {
        let run = play.xtask(&["test", "--runner", runner, "--etcd", "3.5,3.7", "--no-fail-fast"]);
        if run.stderr.contains("nextest is not installed") {
            return crate::playground::skipped("nextest is not installed");
        }
        assert_eq!(run.code, Some(code), "{run:#?}");
        let failed = format!("exit code {code}");
        let rows = [&header[..], &["3.5.27", "1", "1", "T", test, &failed], &["3.7.2", "2", "0", "T", "-", "passed"]];
        assert_eq!(table(&run), rows, "{run:#?}");
        let compilations = run.stderr.matches("Compiling play").count();
        assert_eq!(compilations, usize::from(runner == "cargo"), "{run:#?}");
        if runner == "cargo" {
            assert_eq!(run.stdout.matches("test result: ").count(), 4, "the output is all there: {run:#?}");
        }
    }
    assert!(play.path(".etcd/last-failure-3.5.27.log").exists());
    assert!(play.processes().is_empty());
    assert_eq!(fs::read_dir(play.path("tmp")).unwrap().count(), 0, "nothing temporary stays");
}

#[test]
fn an_etcd_that_cannot_be_had_is_a_row_and_the_others_are_used() {
    build_console();
    let play = Playground::new();
    let line = ["run", "--offline", "--etcd", "3.7.99,3.5,~3.6.99", "--", "sh", "-c", "echo $ETCD_ENDPOINTS"];
    let run = play.xtask(&line);
    assert_eq!((run.code, run.stdout.lines().count()), (Some(1), 1), "{run:#?}");
    let rows = table(&run);
    assert_eq!(rows[0], ["VERSION", "TIME", "RESULT"], "{run:#?}");
    assert_eq!(rows[1], ["3.7.99", "-", "no etcd satisfies `3.7.99`"], "{run:#?}");
    assert_eq!(rows[2], ["3.5.27", "T", "passed"], "{run:#?}");
    // A single `--etcd ~3.6.99` uses another version, with a warning.
    assert_eq!(
        rows[3],
        ["~3.6.99", "-", "etcd `~3.6.99` is not available, and 3.7.2 is no substitute in a comparison"],
        "{run:#?}"
    );
}

#[test]
fn the_worst_exit_code_counts() {
    build_console();
    let play = Playground::new();
    let script = "echo >> count; exit $(( 8 - $(wc -l < count) ))";
    let run = play.xtask(&["run", "--etcd", "3.7,3.5", "--", "sh", "-c", script]);
    assert_eq!(run.code, Some(7), "{run:#?}");
    assert_eq!(table(&run)[1..], [["3.7.2", "T", "exit code 7"], ["3.5.27", "T", "exit code 6"]], "{run:#?}");
}

/// As in the middle of an upgrade.
#[test]
fn the_members_of_a_mixed_cluster_run_the_versions_in_turn() {
    build_console();
    let play = Playground::new();
    let _here = (etcd("3.5.27"), etcd("3.6.7"));
    let mixed = ["--members", "3", "--etcd", "3.6.7,3.7.2", "--mixed"];
    let run = play.xtask(&[&["run"], &mixed[..], &["--", "sh", "-c", "echo $ETCD_ENDPOINTS"]].concat()).ok();
    assert!(run.stderr.contains("an ephemeral etcd 3.6.7,3.7.2 of 3 members at "), "{run:#?}");
    assert_eq!(run.stdout.split(',').count(), 3, "{run:#?}");
    assert_eq!(play.xtask(&["run", "--etcd", "3.6.7,3.7.2", "--mixed", "--", "true"]).code, Some(2));
    let apart = ["run", "--members", "3", "--etcd", "3.5.27,3.7.2", "--mixed", "--", "true"];
    play.xtask(&apart).fails(1, &["etcd 3.5.27 and 3.7.2 cannot be members of one cluster", "`--etcd 3.6,3.7`"]);
}

#[test]
fn an_interrupt_ends_all_of_it() {
    build_console();
    for at in [1, 2] {
        let play = Playground::new();
        let script = format!("echo >> started; [ $(wc -l < started) != {at} ] || exec sleep 600");
        let child = play.command(&["run", "--etcd", "3.7,3.5", "--", "sh", "-c", &script]).spawn().unwrap();
        let started = || fs::read_to_string(play.path("started")).map_or(0, |text| text.lines().count());
        assert!(eventually(|| started() == at));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let run = finish_child(child);
        assert_eq!((run.code, started()), (Some(130), at), "{run:#?}");
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines.len(), 2 * at, "{run:#?}");
        assert!(lines[2 * at - 1].starts_with("the command was interrupted in "), "{run:#?}");
    }
}
