//! What a script can tell from the exit code, and what a person reads who has said no, or wants it quiet.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, finish, next_line, undo_file};
use crate::terminal::Terminal;

/// The shell drops the code of `$(…)` among arguments: `put` is the one that can notice.
#[test]
fn a_copy_of_a_missing_key_writes_nothing() {
    let cluster = Cluster::new();
    cluster.put("/copy", "precious");
    let mut command = Command::new("sh");
    command.args(["-c", r#"put=$1; shift; "$@" put "$put" "$("$@" get /missing --print-value-only)""#, "sh", "/copy"]);
    let ours = cluster.command(&[]);
    command.arg(ours.get_program()).args(ours.get_args()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = finish(command.spawn().unwrap());
    assert_eq!(run.code, Some(2), "{run:?}");
    for words in ["error: there is no key `/missing`", "error: the value is empty", "put /copy -"] {
        assert!(run.stderr.contains(words), "`{words}` is missing: {run:?}");
    }
    assert_eq!(cluster.run(&["get", "/copy"]).ok().stdout, "/copy\nprecious\n");
}

#[test]
fn only_a_value_by_itself_must_be_there() {
    let cluster = Cluster::new();
    let mut empty = cluster.command(&["put", "/empty", "-"]);
    finish(empty.stdin(Stdio::null()).spawn().unwrap()).ok();
    assert_eq!(cluster.run(&["get", "/empty", "--print-value-only"]).ok().stdout, "\n");
    cluster.run(&["get", "/missing", "--print-value-only"]).fails(1, &["there is no key `/missing`"]);
    let rev = cluster.revision().to_string();
    cluster.put("/new", "v");
    cluster.run(&["get", "/new", "--print-value-only", "--rev", &rev]).fails(1, &["`/new`", "at revision"]);
    // As etcdctl has it, and told apart by what is printed.
    for args in [&["get", "/missing"][..], &["get", "/missing/", "--prefix", "--print-value-only"]] {
        assert_eq!(cluster.run(args).ok().stdout, "");
    }
    assert_eq!(cluster.run(&["get", "/missing", "--count-only"]).ok().stdout, "0\n");
}

#[test]
fn an_undo_that_leaves_something_undone_is_no_success() {
    let cluster = Cluster::new();
    cluster.put("/u/a", "old");
    cluster.put("/u/b", "old");
    let file = undo_file(&cluster.run(&["del", "/u/", "--prefix", "--yes", "--expect-count", "2"]).ok().stdout);
    cluster.put("/u/a", "new");
    for format in ["text", "json"] {
        let run = cluster.run(&["undo", &file, "--format", format]);
        assert!(run.stdout.contains(if format == "json" { r#""conflicting":1"# } else { "    /u/a\n" }), "{run:?}");
        run.fails(4, &["1 key changed after the deletion", "`--overwrite`"]);
    }
    cluster.run(&["undo", &file, "--overwrite"]).ok();
    assert_eq!(cluster.run(&["get", "/u/", "--prefix", "--print-value-only"]).ok().stdout, "old\nold\n");
}

/// With a count it has an end of its own, which did not come.
#[test]
fn a_watch_that_is_interrupted_before_its_count_says_so() {
    let cluster = Cluster::new();
    for (count, code) in [(&[][..], 0), (&["-n", "5"], 130)] {
        let mut child = cluster.command(&[&["watch", "/w"], count].concat()).spawn().unwrap();
        let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let (line, _reader) = next_line(stderr);
        assert!(line.starts_with("watching `/w`"), "{line}");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_no_is_no_error() {
    let cluster = Cluster::new();
    cluster.put("/q/a", "v");
    let answer = |flags: &[&str], typed: &str| {
        let terminal = Terminal::new();
        let child = terminal.run(&mut cluster.command(&[flags, &["del", "/q/", "--prefix"]].concat()));
        terminal.wait_for("[y/N] ");
        terminal.type_line(typed);
        assert_eq!(finish(child).code, Some(4));
        terminal
    };
    // The end of input is no answer, and no line.
    for no in ["n", "", "\u{4}"] {
        let terminal = answer(&[], no);
        terminal.wait_for("\nnothing was deleted\r\n");
        assert!(!terminal.shown().contains("error") && !terminal.shown().contains("hint"), "{}", terminal.shown());
    }
    assert!(!answer(&["-q"], "n").shown().contains("nothing was deleted"));
    assert_eq!(cluster.count("/q/"), 1);
}

#[test]
fn quiet_is_data_and_errors_and_nothing_else() {
    let cluster = Cluster::new();
    let quiet = |args: &[&str]| {
        let run = cluster.run(&[&["-q"], args].concat());
        assert_eq!(run.stderr, "", "{args:?}");
        run.ok().stdout
    };
    assert_eq!(quiet(&["put", "/k", "v"]), "");
    assert_eq!(quiet(&["get", "/k"]), "/k\nv\n");
    assert!(quiet(&["put", "/k", "v", "--format", "json"]).starts_with("{\"revision\":"));
    assert!(quiet(&["del", "/k", "--dry-run"]).starts_with("would delete 1 key"));
    assert_eq!(quiet(&["del", "/k", "--yes"]), "");
    let [file] = &std::fs::read_dir(cluster.dir.path().join("undo")).unwrap().collect::<Vec<_>>()[..] else { panic!() };
    let file = file.as_ref().unwrap().path();
    assert_eq!(quiet(&["undo", file.to_str().unwrap()]), "");
    assert_eq!(quiet(&["del", "/absent", "--yes"]), "");
    assert_eq!(quiet(&["test-clean"]), "");
    assert!(quiet(&["test-clean", "--dry-run"]).starts_with("would remove 0 runs"));
    assert!(quiet(&["runs"]).starts_with("no runs below"));
    assert!(quiet(&["member", "list"]).contains("started"));
    cluster.put("/k", "other");
    cluster.run(&["-q", "undo", file.to_str().unwrap()]).fails(4, &["1 key changed after the deletion"]);
    cluster.run(&["-q", "get", "/absent", "--print-value-only"]).fails(1, &["there is no key"]);
}

/// Compacted between the preview and the undo file: `del` has no --rev to leave out.
#[test]
fn a_hint_after_a_compaction_names_no_flag_that_was_not_given() {
    let cluster = Cluster::new();
    cluster.put("/d/a", "v");
    let terminal = Terminal::new();
    let child = terminal.run(&mut cluster.command(&["del", "/d/", "--prefix"]));
    terminal.wait_for("[y/N] ");
    let now = cluster.revision();
    cluster.call("kv/compaction", &format!(r#"{{"revision":{now}}}"#));
    terminal.type_line("y");
    assert_eq!(finish(child).code, Some(1));
    terminal.wait_for("hint: ");
    terminal.wait_for("the same command again");
    assert!(terminal.shown().contains("is compacted") && !terminal.shown().contains("--rev"), "{}", terminal.shown());
    assert_eq!(cluster.count("/d/"), 1);
    cluster.run(&["get", "/d/a", "--rev", "2"]).fails(1, &["is compacted", "without a revision"]);
}
