//! Cloud Chamber's page of etcdctl, as its people type it now: through `cargo xtask`, against the workspace's instance.

use std::path::Path;

use crate::playground::{Playground, build_console, eventually, finish};

/// The commands that move keys want an optimised program; here any will do.
fn play() -> Playground {
    build_console();
    let dir = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap();
    let built = [dir.to_owned(), dir.with_file_name("console")].map(|dir| dir.join("etcd-console"));
    Playground::new().with("ETCD_CONSOLE", built.iter().find(|program| program.is_file()).unwrap())
}

#[test]
fn the_page_runs_through_xtask() {
    let play = play();
    let said = |args: &[&str]| play.xtask(args).ok().stdout;
    play.xtask(&["get", "a"]).fails(3, &["etcd `default` is not running", "etcd-up"]);
    play.up(&[]);
    assert!(said(&["member", "list"]).contains("started"), "the members are seen");
    let rack = |n: u32| format!("/CloudChamber/v0.1/racks/{n}");
    for n in 1..=5 {
        assert_eq!(said(&["put", &rack(n), "8 blades"]), "OK\n");
    }
    assert_eq!(said(&["get", &rack(1)]), format!("{}\n8 blades\n", rack(1)));
    assert_eq!(said(&["get", &rack(2), &rack(4), "--keys-only"]), format!("{}\n{}\n", rack(2), rack(3)));
    assert_eq!(said(&["get", "/CloudChamber/v0.1/racks/", "--prefix", "--count-only"]), "5\n");
    said(&["del", &rack(1), "--yes"]);
    said(&["del", &rack(2), &rack(4), "--yes", "--expect-count", "2"]);
    let deleted = said(&["del", "/CloudChamber/v0.1/racks/", "--prefix", "--yes", "--expect-count", "2"]);
    assert!(deleted.starts_with("deleted 2 keys") && deleted.contains("undo: cargo xtask undo "), "{deleted}");
    play.xtask(&["del", "", "--prefix", "--yes"]).fails(4, &["refused to delete"]);
    let undo = deleted.split_whitespace().last().unwrap();
    assert!(said(&["undo", undo]).starts_with("put back 2 keys"));
}

#[test]
fn a_change_is_watched_through_xtask() {
    let play = play();
    play.up(&[]);
    for (watch, key) in [
        (&["watch", "/k/1", "-n", "1"][..], "/k/1"),
        (&["watch", "/k/1", "/k/3", "-n", "1"], "/k/2"),
        (&["watch", "/k/", "--prefix", "-n", "1"], "/k/9"),
        (&["watch", "-n", "1"], "/CloudChamber/v0.1/racks/1"),
    ] {
        let command = play.command(watch);
        let watching = std::thread::spawn(move || finish(command));
        // It may begin after a write: what is written again is seen.
        assert!(eventually(|| {
            play.xtask(&["put", key, "new"]).ok();
            watching.is_finished()
        }));
        let shown = watching.join().unwrap().ok().stdout;
        assert!(shown.contains("PUT") && shown.contains(key) && shown.contains("new"), "{watch:?}: {shown}");
    }
}
