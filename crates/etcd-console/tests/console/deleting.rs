//! `del` and `undo`: guards, previews, races, and the way back.

use crate::cluster::{Cluster, finish, undo_file};

const ROOT: &str = "/Inventory/v1";

#[test]
fn one_key_a_range_and_a_prefix() {
    let cluster = Cluster::new();
    for key in ["a", "b", "c", "d", "x/1", "x/2", "y"] {
        cluster.put(key, "v");
    }
    let one = cluster.run(&["del", "y", "--yes"]).ok().stdout;
    assert!(one.starts_with("deleted 1 key"), "{one}");
    cluster.run(&["del", "a", "c", "--yes", "--expect-count", "2"]).ok();
    cluster.run(&["del", "x/", "--prefix", "--yes", "--expect-count", "2"]).ok();
    assert_eq!(cluster.run(&["get", "", "--prefix", "--keys-only"]).ok().stdout, "c\nd\n");
    assert!(cluster.run(&["del", "absent", "--yes"]).ok().stdout.starts_with("deleted 0 keys"));
}

#[test]
fn a_preview_deletes_nothing() {
    let cluster = Cluster::new();
    cluster.fill("/p/", 1_000);
    let shown = cluster.run(&["del", "/p/", "--prefix", "--dry-run"]).ok().stdout;
    for word in ["would delete 1000 keys", "/p/0000000000", "/p/0000000999", &cluster.etcd.endpoints()[0]] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(cluster.count("/p/"), 1_000);
}

#[test]
fn without_being_plainly_told_nothing_goes() {
    let cluster = Cluster::new();
    cluster.put("a", "v");
    cluster.put("b", "v");
    cluster.run(&["del", "a"]).fails(4, &["it cannot ask", "hint: `--yes` does it"]);
    cluster.run(&["del", "a", "c"]).fails(4, &["it cannot ask", "hint: `--yes --expect-count 2` does it"]);
    cluster.run(&["del", "a", "c", "--expect-count", "2"]).fails(4, &["it cannot ask", "hint: `--yes` does it"]);
    cluster.run(&["del", "a", "c", "--yes"]).fails(4, &["2 keys", "--expect-count 2"]);
    cluster.run(&["del", "a", "c", "--yes", "--expect-count", "3"]).fails(4, &["2 keys, not 3"]);
    cluster.run(&["del", "x", "z", "--yes", "--expect-count", "3"]).fails(4, &["0 keys, not 3"]);
    cluster.run(&["del", "x", "z", "--yes", "--expect-count", "0"]).ok();
    assert_eq!(cluster.count(""), 2);
}

#[test]
fn what_must_not_be_deleted_is_refused_whatever_it_is_called() {
    let cluster = Cluster::new();
    for key in ["/Inventory/v1/racks/1", "/keep/1", "zzz"] {
        cluster.put(key, "v");
    }
    let all: [&[&str]; 9] = [
        &["", "--prefix"],
        &["/", "--prefix"],
        &["/Invent", "--prefix"],
        &["/Inventory/", "--prefix"],
        &[ROOT, "--prefix"],
        &["/Inventory/v1/", "--prefix"],
        &["/A", "/Z"],
        &["/A", "--from-key"],
        &["/keep/", "--prefix"],
    ];
    for keys in all {
        let line: Vec<&str> = ["--protected", "/keep", "del"]
            .iter()
            .chain(keys)
            .chain(&["--yes", "--expect-count", "1"])
            .copied()
            .collect();
        cluster.run(&line).fails(4, &["refused to delete", "--force"]);
    }
    assert_eq!(cluster.count(""), 3);
    let one = cluster.run(&["--protected", "/keep", "del", "/keep/1", "--yes"]);
    one.fails(4, &["refused to delete", "/keep"]);
    cluster.run(&["del", "/Inventory/v1/racks/", "--prefix", "--yes"]).ok();
    cluster.run(&["del", "", "--prefix", "--force", "--yes", "--expect-count", "3"]).fails(4, &["2 keys, not 3"]);
    cluster.run(&["del", "", "--prefix", "--force", "--yes", "--expect-count", "2"]).ok();
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn undo_puts_everything_back() {
    let cluster = Cluster::new();
    cluster.fill("/u/", 5_000);
    cluster.put(r"/u/nul\0\xff", r"line\n");
    let before = cluster.run(&["get", "/u/", "--prefix"]).ok().stdout;
    let file = undo_file(&cluster.run(&["del", "/u/", "--prefix", "--yes", "--expect-count", "5001"]).ok().stdout);
    assert_eq!(cluster.count("/u/"), 0);
    let said = cluster.run(&["undo", &file]).ok().stdout;
    assert!(said.starts_with("restored 5001 keys"), "{said}");
    assert_eq!(cluster.run(&["get", "/u/", "--prefix"]).ok().stdout, before);
    assert!(cluster.run(&["undo", &file]).ok().stdout.starts_with("restored 0 keys"), "a second undo changes nothing");
}

#[test]
fn undo_leaves_what_came_since() {
    let cluster = Cluster::new();
    cluster.put("/u/a", "old");
    cluster.put("/u/b", "old");
    let file = undo_file(&cluster.run(&["del", "/u/", "--prefix", "--yes", "--expect-count", "2"]).ok().stdout);
    cluster.put("/u/a", "new");
    let said = cluster.run(&["undo", &file]).stdout;
    assert!(said.contains("restored 1 key") && said.contains("/u/a"), "{said}");
    assert_eq!(cluster.run(&["get", "/u/", "--prefix"]).ok().stdout, "/u/a\nnew\n/u/b\nold\n");
    let again = cluster.run(&["undo", &file]).stdout;
    let words = "restored 0 keys of 2\n  1 key existed with the same value\n  1 key changed after the deletion and was left alone:";
    assert!(again.starts_with(words), "{again}");
    let again = cluster.run(&["undo", &file, "--overwrite"]).ok().stdout;
    assert!(again.contains("  1 key had changed and was overwritten\n"), "{again}");
    let again = cluster.run(&["undo", &file]).ok().stdout;
    assert_eq!(again, "restored 0 keys of 2\n  2 keys existed with the same value\n");
}

#[test]
fn undo_files_are_listed_and_the_newest_needs_no_name() {
    let cluster = Cluster::new();
    assert!(cluster.run(&["undo", "--list"]).ok().stdout.starts_with("no undo files in "));
    cluster.run(&["undo", "--yes"]).fails(1, &["there are no undo files", "hint: `del` writes an undo file"]);
    for key in ["/u/old", "/u/new"] {
        cluster.put(key, "v");
        cluster.run(&["del", key, "--yes"]).ok();
    }
    let listed = cluster.run(&["undo", "--list"]).ok().stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[1].contains("/u/old") && lines[2].contains("/u/new"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&cluster.run(&["undo", "--list", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!((&json["files"][1]["header"]["keys"], &json["files"][1]["error"]), (&1.into(), &().into()));

    cluster.run(&["undo"]).fails(4, &["refused to restore 1 key of", "`--yes` does it without asking"]);
    assert_eq!(cluster.count("/u/"), 0);
    let run = cluster.run(&["undo", "--yes"]).ok();
    assert!(run.stderr.contains("1 key of `/u/new`"), "{run:?}");
    assert_eq!(cluster.run(&["get", "/u/", "--prefix", "--keys-only"]).ok().stdout, "/u/new\n");

    std::fs::write(cluster.dir.path().join("undo/99990101T000000.000Z-0-0.jsonl"), "not json\n").unwrap();
    cluster.run(&["undo", "--yes"]).fails(1, &["cannot use the undo file", "not an undo file"]);
    assert!(cluster.run(&["undo", "--list"]).ok().stdout.contains("not an undo file"));
    assert_eq!(cluster.run(&["undo", "--list", "--yes"]).code, Some(2));
}

#[test]
fn undo_files_that_are_none_are_refused() {
    let cluster = Cluster::new();
    let path = cluster.dir.path().join("file");
    let file = path.to_str().unwrap();
    cluster.run(&["undo", file]).fails(1, &[file]);
    for damage in ["", "not json\n", "{}\n", "{\"schema\":99}\n"] {
        std::fs::write(&path, damage).unwrap();
        cluster.run(&["undo", file]).fails(1, &[file]);
    }
    assert_eq!(cluster.count(""), 0);
}

#[test]
fn keys_written_after_the_preview_survive() {
    let cluster = Cluster::new();
    cluster.fill("/r/", 8_000);
    let mut writer = cluster.command(&["load", "/r/0000004000"]);
    let mut writer = writer.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::park_timeout(std::time::Duration::from_millis(200));
    let said = cluster.run(&["del", "/r/", "--prefix", "--yes", "--expect-count", "8000", "--no-undo"]).ok().stdout;
    drop(writer.stdin.take());
    finish(writer).ok();
    let all = said.starts_with("deleted 8000 keys");
    assert!(all || said.contains("  1 key changed or deleted by others meanwhile, and left alone\n"), "{said}");
    assert_eq!(cluster.run(&["get", "/r/", "--prefix"]).ok().stdout, "/r/0000004000\nx\n", "{said}");
}
