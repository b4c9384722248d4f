//! A test that fails shows what happened to its keys; one that passes, or should fail, shows nothing.

use crate::fixture::{Finished, Server, TEST_ROOT, eventually, finish, finished, kill};

/// Runs one of the failing tests, alone, so that its output is its own.
async fn fail(server: &Server, name: &str) -> Finished {
    let mut command = server.subject(&[&format!("failures::{name}")]);
    command.env("SUBJECT_FAILS", "1");
    let run = finished(command).await;
    assert_eq!(run.code, Some(101), "{}", run.out);
    run
}

/// The lines of a timeline, without what differs between runs: revisions, times and the prefix.
fn timeline(run: &Finished) -> Vec<String> {
    let lines = run.out.lines().skip_while(|line| !line.starts_with("what happened under `")).skip(1);
    let plain = |line: &str| {
        let words = line.split_whitespace().filter(|word| !word.ends_with("s:") || word.starts_with("keys"));
        words.filter(|word| !word.chars().all(|c| c.is_ascii_digit() || c == '.')).collect::<Vec<_>>().join(" ")
    };
    lines.take_while(|line| line.starts_with("  ")).map(plain).collect()
}

const LOST: [&str; 4] = [
    r#"rev PUT racks/1 `{"blades":8,"state":"new"}`"#,
    r#"rev PUT racks/1 .state "new" → "lost""#,
    "same txn PUT index `1`",
    r#"rev DEL racks/1 (was `{"blades":8,"state":"lost"}`)"#,
];

#[tokio::test]
async fn a_test_that_fails_shows_what_happened_in_any_form() {
    let server = Server::start();
    for (name, own) in [
        ("by_a_panic", "the rack is there"),
        ("by_a_panic_on_threads", "after a task"),
        ("without_async", "not async"),
        ("of_tokio", "of tokio"),
    ] {
        let run = fail(&server, name).await;
        run.says(&[own]);
        let lines = timeline(&run);
        let changes: Vec<_> = lines.iter().filter(|line| !line.starts_with("--")).take(4).collect();
        assert_eq!(changes, LOST, "{name}: {}", run.out);
        assert_eq!(lines.iter().filter(|line| line.starts_with("-- registered")).count(), 1, "{name}: {}", run.out);
        assert!(lines.ends_with(&["now: key".to_owned(), "index = `1`".to_owned()]), "{name}: {}", run.out);
        assert_eq!(run.out.matches("what happened under").count(), 1, "{name}: {}", run.out);
    }
    fail(&server, "of_tokio").await.says(&["DEL leased (was ``) by the end of lease "]);
}

#[tokio::test]
async fn values_that_are_secret_are_not_shown() {
    let server = Server::start();
    let manifest = server.dir.path().join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap() + "redact = [\"*/password\"]\n";
    std::fs::write(&manifest, text).unwrap();
    let run = fail(&server, "of_rstest::case_1").await;
    run.says(&[
        "PUT a `of rstest`",
        "PUT user/password `(hidden)` → `(hidden, another value)`",
        "~ user/password = (hidden, another value), not (hidden)",
        "`user/password` was not as expected within 0.01 s: its value is `(hidden)`",
        "user/password = `(hidden)`",
    ]);
    assert!(!run.out.contains("hunter"), "{}", run.out);
}

/// Without the keys that it leaves, the same test passes: `what_passes_or_should_fail_explains_nothing`.
#[tokio::test]
async fn a_test_that_is_to_leave_nothing_fails_if_keys_are_left() {
    let server = Server::start();
    let run = fail(&server, "that_leaves_keys").await;
    run.says(&[
        "12 keys are left at the end of this test, which is to remove its keys (`clean`): `left/00`, `left/01`",
    ]);
    assert!(run.out.contains("`left/09`, …\n") && run.out.contains("PUT left/11"), "{}", run.out);
}

#[tokio::test]
async fn a_test_that_writes_elsewhere_shows_where() {
    let server = Server::start();
    fail(&server, "that_writes_elsewhere").await.says(&[
        "nothing was written here",
        "outside of all runs: 1 change since the run began, by this test or others: `/Inventory/v1/racks/1`",
        "in this run, outside of all sandboxes: 1 change since the run began, by this test or others: `/Inventory/v1/Test/",
    ]);
    assert!(!fail(&server, "by_a_panic").await.out.contains("outside of all"));
}

#[tokio::test]
async fn an_expectation_that_failed_is_on_the_timeline() {
    let server = Server::start();
    let run = fail(&server, "by_an_error").await;
    let lines = timeline(&run);
    let mark = lines.iter().position(|line| line == "-- registered");
    assert_eq!(mark, Some(1), "after the first change: {}", run.out);
    let failed = lines.iter().position(|line| line.starts_with("-- other keys were expected ("));
    assert_eq!(failed, Some(5), "after the last change: {}", run.out);
    assert!(lines[6].contains("- racks/1"), "{}", run.out);
}

/// Where a line is that ends like this.
#[track_caller]
fn place(lines: &[String], end: &str, run: &Finished) -> usize {
    lines.iter().position(|line| line.ends_with(end)).unwrap_or_else(|| panic!("`{end}` is missing: {}", run.out))
}

#[tokio::test]
async fn events_of_tracing_are_on_the_timeline_and_reach_the_subscriber_of_the_process() {
    let server = Server::start();
    let run = fail(&server, "with_events").await;
    let lines = timeline(&run);
    let at = |end: &str| place(&lines, end, &run);
    at("-- INFO at the beginning blades=8");
    assert!(at("PUT racks/1 `new`") < at("-- INFO in a task blades=8"), "{}", run.out);
    assert!(at("DEL racks/1 (was `new`)") < at(r"-- WARN lost\x1b[31m\n"), "{}", run.out);
    assert!(at("-- INFO in a task blades=8") < at(r"-- WARN lost\x1b[31m\n"), "{}", run.out);
    let shown = lines.join("\n");
    assert!(!shown.contains("a detail") && !shown.contains("in a thread"), "{}", run.out);
    run.says(&[
        " s: INFO sandbox::subject::failures: in a task blades=8",
        "INFO registering{rack=1}: sandbox::subject::failures: in a task blades=8",
    ]);
}

#[tokio::test]
async fn rust_log_selects_the_events_and_the_last_thousand_are_kept() {
    let server = Server::start();
    let mut both = server.subject(&["failures::with_events", "failures::with_many_events"]);
    both.env("SUBJECT_FAILS", "1").env("RUST_LOG", "warn,sandbox::subject=debug");
    let run = finished(both).await;
    run.says(&["2 failed", "500 earlier events are not kept", "number 1500 of many", "notes not shown …"]);
    // Each has its own, though they are in one process.
    let timelines: Vec<_> = run.out.split("what happened under `").skip(1).collect();
    assert_eq!(timelines.len(), 2, "{}", run.out);
    for timeline in timelines {
        let (prefix, rest) = timeline.split_once('`').unwrap();
        let own = rest.lines().skip(1).take_while(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n");
        let is_of_many = prefix.contains("with_many_events~");
        assert_eq!((own.contains("of many"), own.contains(": a detail")), (is_of_many, !is_of_many), "{own}");
    }
}

#[tokio::test]
async fn changes_of_other_connections_are_told() {
    let server = Server::start();
    let run = fail(&server, "with_several_writers").await;
    let lines = timeline(&run);
    let without_leases = |line: &String| match line.split_once(" lease ") {
        Some((start, rest)) => {
            format!("{start} lease{}", rest.split_once(' ').map_or_else(String::new, |(_, end)| format!(" {end}")))
        }
        None => line.clone(),
    };
    let changes: Vec<_> = lines.iter().take_while(|line| !line.starts_with("--")).map(without_leases).collect();
    let expected = [
        "rev PUT racks/1 `new`",
        "rev PUT racks/1 `new` → `lost` by another connection",
        "rev PUT a `1` by another connection",
        "same txn PUT b `1`",
        "rev PUT racks/1 `lost` → `found`",
        "rev PUT leased `` lease by another connection",
        "rev DEL leased (was ``) lease by another connection",
        "rev PUT leased `` lease by another connection",
        "rev DEL leased (was ``) by the end of lease",
        "rev PUT process `` by another connection",
    ];
    assert_eq!(changes, expected, "{}", run.out);
    assert!(run.out.contains("history (10 changes):"), "{}", run.out);
}

#[tokio::test]
async fn code_with_its_own_client_is_told_once() {
    let server = Server::start();
    let run = fail(&server, "of_code_with_its_own_client").await;
    run.says(&["history (2 changes, none by the sandbox's own connection):", "DEL racks/1 (was `new`)\n"]);
    assert!(!run.out.contains("by another connection"), "{}", run.out);
}

#[tokio::test]
async fn after_a_write_with_an_unknown_result_no_writer_is_told() {
    let server = Server::start();
    let run = fail(&server, "with_an_unknown_result").await;
    run.says(&["PUT a `1` → `2` by another connection\n", "PUT a `2` → `3`\n"]);
    assert_eq!(run.out.matches("by another connection").count(), 1, "{}", run.out);
}

#[tokio::test]
async fn what_happens_to_members_is_on_the_timeline() {
    let server = Server::start();
    let run = fail(&server, "that_kills_members").await;
    let lines = timeline(&run);
    let names: Vec<&str> = run.out.lines().find(|line| line.starts_with("leader m")).unwrap().split(' ').collect();
    let [_, leader, _, other, _, third] = names[..] else { panic!("{names:?}") };
    let at = |end: &str| place(&lines, end, &run);
    let order = [
        at("PUT a `1`"),
        at(&format!("-- the leadership has moved to member `{other}`")),
        at("PUT a `1` → `2`"),
        at(&format!("-- member `{other}` is killed")),
        at("PUT a `2` → `3`"),
        at(&format!("-- member `{other}` runs again")),
        at("PUT a `3` → `4`"),
        at(&format!("-- member `{leader}` is stopped")),
        at(&format!("-- member `{leader}` runs again")),
        at(&format!("-- member `{third}` has ended by itself")),
    ];
    assert!(order.is_sorted(), "{}", run.out);
    assert!(!run.out.contains("by another connection"), "{}", run.out);
}

#[tokio::test]
async fn a_long_history_is_folded_and_says_where_it_begins() {
    let server = Server::start();
    let run = fail(&server, "with_an_etcd_of_its_own").await;
    run.says(&["is compacted)", "changes not shown …", "was not 501 within 0.05 s", r"→ `\x1b[2J\xe2\x80\xae`"]);
    let lines = timeline(&run);
    assert!((40..60).contains(&lines.len()), "{} lines: {}", lines.len(), run.out);
    // What is around the expectation that failed is between two gaps, whatever was written after it.
    let gap = |line: &String| line.ends_with("not shown …");
    let gaps: Vec<usize> = (0..lines.len()).filter(|place| gap(&lines[*place])).collect();
    let failed = place(&lines, "its value is `\\x1b[2J\\xe2\\x80\\xae`", &run);
    assert_eq!(gaps.len(), 2, "{}", run.out);
    assert!(gaps[0] < failed && failed < gaps[1] && lines[failed + 1].contains("→ `600`"), "{}", run.out);
    assert_eq!(gaps[1] - gaps[0], 1 + 4 + 1 + 4, "{}", run.out);
    let watch = place(&lines, "a watch of all keys begins", &run);
    assert_eq!(watch, failed - 1, "{}", run.out);
    assert!(!run.out.contains('\u{1b}'));
}

/// The timeline that a failing test writes for the report of its run.
async fn written(server: &Server, name: &str, dir: &std::path::Path) -> serde_json::Value {
    let mut command = server.subject(&[&format!("failures::{name}")]);
    command.env("SUBJECT_FAILS", "1").env("ETCD_TEST_TIMELINES", dir);
    for (variable, value) in [("NEXTEST_BINARY_ID", "a::b"), ("NEXTEST_TEST_NAME", "c::d"), ("NEXTEST_ATTEMPT", "2")] {
        command.env(variable, value);
    }
    let run = finished(command).await;
    assert_eq!(run.code, Some(101), "{}", run.out);
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?} {}", run.out) };
    let timeline: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(file.file_stem().unwrap().to_str(), timeline["sandbox"].as_str());
    std::fs::remove_file(file).unwrap();
    timeline
}

#[tokio::test]
async fn a_report_has_the_whole_timeline() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let timeline = written(&server, "by_an_error", dir.path()).await;
    assert_eq!(
        (&timeline["suite"], &timeline["test"], &timeline["attempt"]),
        (&"a::b".into(), &"c::d".into(), &2.into())
    );
    assert_eq!((&timeline["keys"], &timeline["is_compacted"]), (&1.into(), &false.into()));
    let entries = timeline["entries"].as_array().unwrap();
    let words: Vec<_> =
        entries.iter().map(|entry| entry["type"].as_str().or(entry["note"].as_str()).unwrap()).collect();
    assert_eq!(words[..5], ["PUT", "registered", "PUT", "PUT", "DEL"], "{timeline:#}");
    assert!(words[5].starts_with("other keys were expected"), "{timeline:#}");
    assert_eq!(entries[2]["rev"], entries[3]["rev"], "one transaction");
    assert_eq!(entries[2]["key"], "racks/1");
    assert_eq!(entries[2]["before"], r#"{"blades":8,"state":"new"}"#);
    assert_eq!(entries[2]["after"], r#"{"blades":8,"state":"lost"}"#);
    assert_eq!(entries[2]["difference"], r#".state "new" → "lost""#);
    let timeline = written(&server, "of_tokio", dir.path()).await;
    let deletion = timeline["entries"].as_array().unwrap().iter().rfind(|entry| entry["key"] == "leased").unwrap();
    assert_eq!(deletion["lease"], timeline["ended_leases"][0], "{timeline:#}");
    let timeline = written(&server, "with_several_writers", dir.path()).await;
    let entries = timeline["entries"].as_array().unwrap();
    let by_another: Vec<_> = entries.iter().map(|entry| entry["by_another_connection"] == true).collect();
    // Not the transaction of the sandbox's own connection, and no deletion of a key with a lease.
    assert_eq!(by_another[..6], [false, true, true, true, false, true], "{timeline:#}");
    assert_eq!(by_another[6..10], [false, true, false, true], "{timeline:#}");
    let timeline = written(&server, "that_kills_members", dir.path()).await;
    let entries = timeline["entries"].as_array().unwrap();
    let killed =
        entries.iter().position(|entry| entry["note"].as_str().is_some_and(|note| note.ends_with("is killed")));
    let before = killed.and_then(|killed| killed.checked_sub(1)).unwrap();
    assert_eq!((&entries[before]["after"], &entries[before + 2]["after"]), (&"2".into(), &"3".into()), "{timeline:#}");
    let timeline = written(&server, "with_an_etcd_of_its_own", dir.path()).await;
    assert_eq!(timeline["is_compacted"], true);
    assert!(timeline["entries"].as_array().unwrap().len() >= 100, "{timeline:#}");
    // Without values that are secret, as on the terminal.
    let manifest = server.dir.path().join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap() + "redact = [\"*/password\"]\n";
    std::fs::write(&manifest, text).unwrap();
    let timeline = written(&server, "of_rstest::case_1", dir.path()).await.to_string();
    assert!(timeline.contains("user/password") && !timeline.contains("hunter"), "{timeline}");
}

#[tokio::test]
async fn a_long_value_is_cut_and_a_file_that_cannot_be_written_is_told() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let timeline = written(&server, "with_a_long_value", dir.path()).await;
    let entry = &timeline["entries"][1];
    assert_eq!(entry["after_bytes"], 1_000_001, "{timeline:#}");
    assert!(entry["after"].as_str().unwrap().len() < 2000, "{timeline:#}");
    assert!(entry["difference"].as_str().unwrap().contains("at byte 1000000"), "{timeline:#}");
    let mut command = server.subject(&["failures::by_a_panic"]);
    command.env("SUBJECT_FAILS", "1").env("ETCD_TEST_TIMELINES", dir.path().join("none"));
    let run = finished(command).await;
    run.says(&["what happened under", "now: 1 key", "(the report of the run does not have this timeline: "]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn without_an_etcd_the_failure_stands_alone() {
    let server = Server::start();
    let run = fail(&server, "whose_etcd_is_gone").await;
    run.says(&["etcd is gone", "no timeline of the test's keys: ", " s: member `ephemeral` is killed\n"]);
    assert!(run.out.find("etcd is gone") < run.out.find("no timeline"), "{}", run.out);
}

/// As nextest ends a test that takes too long.
#[tokio::test]
async fn a_test_that_the_runner_ends_shows_what_happened() {
    let server = Server::start();
    for (variable, is_nextest) in [("NEXTEST", true), ("SUBJECT_NO_RUNNER", false)] {
        let mut command = server.scenario("waits_for_a_key");
        let child = command.env_remove("NEXTEST").env(variable, "1").spawn().unwrap();
        let registry = server.registry().await;
        let pid = child.id();
        let waiting = async || {
            let keys = registry.connection().all_keys().prefix(TEST_ROOT).await.unwrap().kvs;
            keys.iter().any(|kv| kv.key.ends_with(b"/waiting"))
        };
        eventually("the test waits", waiting).await;
        kill("-TERM", pid);
        let run = tokio::task::spawn_blocking(|| finish(child)).await.unwrap();
        let expected = if is_nextest { Some(143) } else { None };
        assert_eq!((run.code, run.out.contains("PUT waiting")), (expected, is_nextest), "{}", run.out);
    }
}

#[tokio::test]
async fn what_passes_or_should_fail_explains_nothing() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let mut command = server.subject(&["failures::"]);
    command.env("ETCD_TEST_TIMELINES", dir.path());
    let run = finished(command).await;
    assert_eq!(run.code, Some(0), "{}", run.out);
    assert!(!run.out.contains("what happened under"), "{}", run.out);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no timeline for a report either");
}
