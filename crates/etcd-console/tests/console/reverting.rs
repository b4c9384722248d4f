//! `revert`: keys as they were at a revision, behind the guards of `del`, and both ways back.

use crate::cluster::{Cluster, finish, undo_file};
use crate::terminal::Terminal;

fn all(cluster: &Cluster, prefix: &str) -> String {
    cluster.run(&["get", prefix, "--prefix"]).ok().stdout
}

/// Keys at a revision, and after it one changed, one deleted, one new, one as it was.
fn changed(cluster: &Cluster) -> (String, String) {
    for key in ["changed", "deleted", "same"] {
        cluster.put(&format!("/r/{key}"), "old");
    }
    let revision = cluster.revision().to_string();
    let before = all(cluster, "/r/");
    cluster.put("/r/changed", "new");
    cluster.run(&["del", "/r/deleted", "--yes"]).ok();
    cluster.put("/r/new", "new");
    (revision, before)
}

#[test]
fn keys_are_as_they_were_and_can_be_taken_back() {
    let cluster = Cluster::new();
    let (revision, before) = changed(&cluster);
    let after = all(&cluster, "/r/");
    let revert = |more: &[&str]| cluster.run(&[&["revert", "/r/", "--prefix", "--rev", &revision], more].concat());
    let shown = revert(&["--dry-run"]).ok().stdout;
    let counts = "3 keys (1 overwritten, 1 written again, 1 deleted)";
    assert!(shown.starts_with(&format!("would change {counts} at http://")), "{shown}");
    assert!(shown.ends_with("  ~ /r/changed\n  + /r/deleted\n  - /r/new\n"), "{shown}");
    revert(&["--yes"]).fails(4, &["3 keys differ", "hint: `--expect-count 3`"]);
    revert(&["--yes", "--expect-count", "2"]).fails(4, &["3 keys differ, not 2"]);
    revert(&[]).fails(4, &["refused to change", "it cannot ask", "`--yes --expect-count 3` does it"]);
    assert_eq!(all(&cluster, "/r/"), after, "nothing was changed so far");
    let done = revert(&["--yes", "--expect-count", "3"]).ok().stdout;
    assert!(done.starts_with("changed 3 keys at ") && done.contains(&format!("as they were at revision {revision}\n")));
    assert_eq!(all(&cluster, "/r/"), before);
    assert!(revert(&["--yes"]).ok().stdout.starts_with("would change 0 keys"), "nothing is left to do");
    // Both ways back that it names.
    let preview = done.split("--rev ").nth(1).unwrap().split(',').next().unwrap();
    cluster.run(&["undo", &undo_file(&done), "--overwrite"]).ok();
    assert_eq!(all(&cluster, "/r/"), "/r/changed\nnew\n/r/deleted\nold\n/r/new\nnew\n/r/same\nold\n");
    cluster.run(&["revert", "/r/", "--prefix", "--rev", preview, "--yes", "--no-undo"]).ok();
    assert_eq!(all(&cluster, "/r/"), after);
    let json = revert(&["--yes", "--expect-count", "3", "--no-undo", "--format", "json"]).ok().stdout;
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&answer["changed"], &answer["kept"], &answer["undo"]),
        (&3.into(), &0.into(), &serde_json::Value::Null)
    );
}

#[test]
fn what_cannot_be_reverted_is_said() {
    let cluster = Cluster::new();
    let (revision, _) = changed(&cluster);
    let after = all(&cluster, "/r/");
    for range in [&["", "--prefix"][..], &["/Inventory/v1/", "--prefix"], &["/A", "/Z"]] {
        cluster
            .run(&[&["revert", "--rev", &revision, "--yes"], range].concat())
            .fails(4, &["refused to revert", "--force"]);
    }
    cluster.run(&["revert", "/r/", "--prefix", "--rev", "999999", "--yes"]).fails(1, &["revision"]);
    let now = cluster.revision();
    cluster.call("kv/compaction", &format!("{{\"revision\":{now}}}"));
    cluster.run(&["revert", "/r/", "--prefix", "--rev", &revision, "--yes"]).fails(1, &[&revision, "compact"]);
    assert_eq!(all(&cluster, "/r/"), after);
}

#[test]
fn a_key_that_changes_after_the_preview_stays() {
    let cluster = Cluster::new();
    let (revision, _) = changed(&cluster);
    let terminal = Terminal::new();
    let mut command = cluster.command(&["revert", "/r/", "--prefix", "--rev", &revision]);
    let child = terminal.run(&mut command);
    terminal.wait_for("[y/N]");
    cluster.put("/r/changed", "newest");
    terminal.type_line("y");
    assert_eq!(finish(child).code, Some(0), "{}", terminal.shown());
    terminal.wait_for("1 key changed by others meanwhile, and left alone");
    assert_eq!(all(&cluster, "/r/"), "/r/changed\nnewest\n/r/deleted\nold\n/r/same\nold\n");
}

#[test]
fn thousands_of_keys_return_in_transactions_that_fit() {
    let cluster = Cluster::new();
    cluster.fill("/many/", 2_500);
    let large = "x".repeat(100_000);
    for n in 0..6 {
        cluster.put(&format!("/many/large{n}"), &large);
    }
    let revision = cluster.revision().to_string();
    let before = all(&cluster, "/many/");
    cluster.run(&["del", "/many/", "--prefix", "--yes", "--expect-count", "2506", "--no-undo"]).ok();
    let line = ["revert", "/many/", "--prefix", "--rev", &revision, "--yes", "--expect-count", "2506"];
    cluster.run(&line).ok();
    assert!(all(&cluster, "/many/") == before);
}
