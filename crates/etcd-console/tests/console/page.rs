//! The page of a report: what is in it, and that a real browser draws and filters it without an error. Without Chromium on
//! this machine, that part is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use testkit::Run;

/// Text that would end an element, an attribute, a comment or a script, or act on a terminal.
const HOSTILE: &str = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">&quot;'\"--><!--\u{202e}";

/// Runs in the page, and writes what it finds into an element.
const DRIVER: &str = include_str!("page_driver.js");

fn change(rev: usize, kind: &str, key: &str, before: Option<&str>, after: Option<&str>) -> Value {
    let shown = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
    let difference = format!("{} → {}", shown(before), shown(after));
    json!({ "rev": rev, "type": kind, "key": key, "before": before, "after": after, "difference": difference })
}

fn timeline(entries: Vec<Value>) -> Value {
    json!({
        "sandbox": "a~1", "prefix": "/Inventory/v1/Test/r/a~1/", "suite": null, "test": null, "attempt": 1,
        "ended": "2026-11-28T10:00:05.000Z", "seconds": 2.5, "entries": entries, "first_revision": 1,
        "last_revision": 99, "is_compacted": false, "ended_leases": ["1f"], "keys": 1,
    })
}

/// One of each kind of change, a transaction of two keys, two notes.
fn small() -> Value {
    let mut leased = change(5, "DEL", "leased", Some("x"), None);
    leased["lease"] = "1f".into();
    timeline(vec![
        change(2, "PUT", HOSTILE, None, Some(HOSTILE)),
        json!({ "note": HOSTILE, "seconds": 0.5, "rev": 2 }),
        change(3, "PUT", HOSTILE, Some(HOSTILE), Some("new")),
        change(3, "PUT", "leased", None, Some("x")),
        change(4, "DEL", HOSTILE, Some("new"), None),
        leased,
        json!({ "note": "`racks/1` was not `8 blades` within 10 s", "seconds": 2.5, "rev": 5 }),
    ])
}

/// 30,000 changes of 40 keys.
fn large() -> Value {
    let entries = (0..30_000).map(|n| {
        let (before, after) = (n.to_string(), (n + 1).to_string());
        change(
            n + 10,
            "PUT",
            &format!("keys/{:02}", n % 40),
            Some(&before).filter(|_| n >= 40).map(String::as_str),
            Some(&after),
        )
    });
    timeline(entries.collect())
}

fn report(tests: Vec<Value>) -> Value {
    let failed = tests.iter().filter(|test| test["verdict"] == "failed").count();
    let line = |time: &str, level: &str| json!({ "time": time, "level": level, "text": format!("apply took too long {HOSTILE}") });
    json!({
        "schema": 1, "run": "20261128T100000Z-0", "prefix": "/Inventory/v1/Test/20261128T100000Z-0/",
        "command": format!("cargo xtask test '{HOSTILE}'"), "verdict": if failed > 0 { "failed" } else { "passed" },
        "exit_code": 100, "seconds": 12.5,
        "etcd": { "description": "an ephemeral etcd 3.7.2 at http://127.0.0.1:1", "version": "3.7.2", "endpoints": [] },
        "passed": tests.len() - failed, "failed": failed, "tests": tests,
        "other_sandboxes": { "sandboxes": 0, "changes": 0, "keys": 0 }, "other_timelines": [],
        "escapes": { "changes": 2, "keys": [HOSTILE], "revisions": [1, 9] },
        "leaks": { "leases": 1, "locks": 1, "without_keys": 1, "named": [
            { "id": "0000000000001234", "ttl": 60, "keys": 2, "key": HOSTILE, "is_lock": false },
        ] }, "lost": false,
        "health": [
            { "member": "m1", "fsyncs": 40, "fsync_p99_seconds": 0.008, "leader_changes": 1, "fault": null },
            { "member": HOSTILE, "fsyncs": 2, "fsync_p99_seconds": 0.016, "leader_changes": 0, "fault": "was restarted" },
        ],
        "log": { "left_out": 0, "lines": [line("2026-11-28T10:00:00.100Z", "INFO"), line("2026-11-28T15:30:04.900+05:30", "WARN")] },
    })
}

fn test(number: usize, verdict: &str, timelines: Vec<Value>) -> Value {
    let output = if verdict == "failed" { HOSTILE } else { "" };
    json!({
        "suite": "my-crate::fast", "name": format!("module::test_{number}"), "verdict": verdict, "seconds": 0.25,
        "sandboxes": 1, "changes": 100, "keys": 3, "revisions": [5, 105], "output": output, "timelines": timelines,
    })
}

fn draw(report: &Value, dir: &Path) -> (Run, PathBuf) {
    let document = dir.join("report.json");
    std::fs::write(&document, report.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-console"));
    command.arg("page").arg(&document).current_dir(dir);
    (testkit::finish(command), dir.join("report.html"))
}

#[test]
fn nothing_that_a_test_wrote_is_part_of_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let (run, page) = draw(&report(vec![test(1, "failed", vec![small()])]), dir.path());
    assert_eq!(run.ok().stdout, format!("{}\n", page.display()));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains("<!--"), "{page}");
    assert_eq!(page.matches("<script").count(), 2, "its own, and the data");
    // It loads nothing: no address but those that are shown, and the name of SVG.
    let addresses = page.match_indices("http").filter_map(|(at, _)| page.get(at..)?.split(['"', '<', ' ']).next());
    let known = ["http-equiv=", "http://www.w3.org/2000/svg", "http://127.0.0.1:1"];
    assert_eq!(addresses.filter(|address| !known.contains(address)).collect::<Vec<_>>(), [""; 0]);
    assert!(page.contains("0000000000001234") && page.contains("2 keys"), "what the tests left: {page}");
    assert!(page.contains("42 fsyncs, 99 of 100 within 16 ms; 1 leader change<"), "{page}");
    assert_eq!(page.matches("was restarted").count(), 1, "{page}");
    // Of the log's lines, the one that was written while the test ran.
    assert!(page.contains("The server's log meanwhile (1)"), "{page}");
}

/// A report of a command, of an etcd that tells nothing.
#[test]
fn a_command_has_no_tests_and_the_timeline_of_all_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = report(Vec::new());
    let mut timeline = small();
    timeline["seconds"] = Value::Null;
    (report["subject"], report["health"]) = ("command".into(), Value::Null);
    report["other_timelines"] = json!([timeline]);
    let (run, page) = draw(&report, dir.path());
    run.ok();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<h1>The command passed</h1>") && !page.contains("<h2>Tests</h2>"), "{page}");
    assert!(page.contains("By etcd's history at 2026-11-28T10:00:05.000Z") && !page.contains("Failed"), "{page}");
    assert!(page.contains("its metrics could not be read"), "{page}");
}

#[test]
fn a_document_that_cannot_be_drawn_is_an_error_and_leaves_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut newer = report(Vec::new());
    newer["schema"] = 2.into();
    for (document, words) in [(newer, "a newer version wrote it"), (json!([1]), "cannot draw")] {
        let (run, page) = draw(&document, dir.path());
        assert!(run.code == Some(1) && run.stderr.contains(words), "{run:#?}");
        assert!(!page.exists());
    }
}

#[test]
fn a_browser_draws_and_filters_ten_thousand_tests() {
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(name))
    else {
        eprintln!("skipped: there is no Chromium on this machine");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut tests: Vec<Value> = (0..10_000).map(|number| test(number, "passed", Vec::new())).collect();
    tests[77] = test(77, "failed", vec![small()]);
    tests[9_000] = test(9_000, "failed", vec![large()]);
    let (run, page) = draw(&report(tests), dir.path());
    run.ok();
    let found = driven(chromium, &page, dir.path());
    assert_eq!(found["errors"], json!([]), "{found:#}");
    assert_eq!((&found["all"], &found["failed"]), (&10_000.into(), &2.into()), "{found:#}");
    // test_77, test_770 to test_779, and test_7700 to test_7799.
    assert_eq!((&found["filtered"], &found["shown"]), (&111.into(), &"111 of 10000".into()), "{found:#}");
    assert_eq!((&found["isFocused"], &found["title"]), (&true.into(), &"2 of 10000 tests failed".into()));
    assert_eq!((&found["images"], &found["loaded"]), (&0.into(), &0.into()), "{found:#}");
    let small = &found["timelines"][0];
    assert_eq!(small["kinds"], json!([2, 1, 1, 1, 0, 1, 2]), "{found:#}");
    assert_eq!(small["lanes"], 2);
    let (first, note) =
        (format!("rev 2 PUT {HOSTILE} nothing → {HOSTILE} after:  {HOSTILE}"), format!("-- 0.500 s: {HOSTILE}"));
    assert_eq!(small["first"].as_str().unwrap().replace('\n', " "), first);
    assert_eq!(small["second"], note);
    assert_eq!(small["last"], "-- 2.500 s: `racks/1` was not `8 blades` within 10 s");
    assert_eq!(small["tip"], format!("rev 2 PUT {HOSTILE} nothing → {HOSTILE}"));
    let large = &found["timelines"][1];
    assert_eq!(large["lanes"], 23, "and one for all others");
    assert!(large["kinds"][4].as_u64().unwrap() > 100, "{large:#}");
    assert_eq!(large["zoomed"], "1 to 5 of 30000");
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Opens the page in a browser without a window, runs the driver in it, and returns what that found.
fn driven(chromium: &str, page: &Path, dir: &Path) -> Value {
    let mut text = std::fs::read_to_string(page).unwrap();
    let nonce = text.split_once("<script nonce=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let script = |body: &str| format!("<script nonce=\"{nonce}\">{body}</script>");
    let errors = "window.errors = []; addEventListener('error', (event) => window.errors.push(event.message)); \
                  addEventListener('securitypolicyviolation', (event) => window.errors.push(event.violatedDirective));";
    text = text.replacen("<title>", &format!("{}<title>", script(errors)), 1);
    let end = text.rfind("</body>").unwrap();
    text.insert_str(end, &script(DRIVER));
    let driven = dir.join("driven.html");
    std::fs::write(&driven, text).unwrap();
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    command.args(["--window-size=1280,900", "--virtual-time-budget=100", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", dir.join("profile").display()));
    command.arg(format!("file://{}", driven.display())).env("HOME", dir);
    let run = testkit::finish(command);
    let console: Vec<_> = run.stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:#?}");
    let found = run.stdout.rsplit_once("<pre id=\"found\">").map(|(_, rest)| rest.split_once("</pre>").unwrap().0);
    let found = found.unwrap_or_else(|| panic!("the driver did not end: {}", run.stderr));
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\u{a0}"), ("&amp;", "&")];
    serde_json::from_str(&plain.iter().fold(found.to_owned(), |text, (escape, plain)| text.replace(escape, plain)))
        .unwrap()
}
