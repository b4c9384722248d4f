//! `doctor` looks at the very thing that failed: each hint that names it is followed.

use std::fs;
use std::process::Command;

use crate::bad_input::quiet;
use crate::playground::{Playground, Run, etcd, finish, shared_cache};

fn remount(play: &Playground, mode: &str) {
    let mut mount = Command::new("mount");
    mount.args(["-o", &format!("remount,{mode}")]).arg(play.path("small"));
    assert_eq!(finish(quiet(mount)).code, Some(0));
}

#[track_caller]
fn finds(play: &Playground, words: &[&str]) -> Run {
    let run = play.xtask(&["doctor"]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    for word in words {
        assert!(run.stdout.contains(word), "`{word}` is missing: {run:#?}");
    }
    run
}

fn small(size: &str) -> Option<Playground> {
    let play = Playground::on_tmpfs(size);
    if play.is_none() {
        eprintln!("skipped: this user may not mount a file system");
    }
    play
}

#[test]
fn the_disk_under_the_data_is_looked_at_wherever_the_data_is() {
    let Some(play) = small("8m") else { return };
    let small = play.path("small");
    play.xtask(&["etcd-up", "--data-dir", "small/data"]).fails(1, &["no space left on device"]);
    finds(&play, &["FAILURE  data directory: only ", "free some space around"]);
    let variable = Playground::new().with("ETCDDATA", small.join("by-variable"));
    finds(&variable, &["FAILURE  data directory: only "]);
    variable.configure(&format!("port = \"auto\"\ndata-dir = \"{}\"", small.join("by-manifest").display()));
    remount(&play, "ro");
    let run = play.xtask(&["doctor"]);
    let theirs = variable.xtask(&["doctor"]);
    remount(&play, "rw");
    for run in [run, theirs] {
        assert!(run.stdout.contains("FAILURE  data directory: `") && run.stdout.contains("Read-only"), "{run:#?}");
    }
}

#[test]
fn a_cache_in_which_no_program_runs_is_found() {
    let Some(play) = small("256m") else { return };
    let binary = etcd("3.7.2");
    let cache = play.path("small/cache");
    let own = cache.join(binary.strip_prefix(shared_cache()).unwrap().parent().unwrap());
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(binary.parent().unwrap()).arg(&own);
    finish(quiet(cp)).ok();
    remount(&play, "noexec");
    let play = play.with("ETCD_LOCAL_CACHE", &cache);
    play.xtask(&["etcd-up"]).fails(1, &["Permission denied", "`cargo xtask doctor`"]);
    finds(&play, &["FAILURE  cache: no program runs in `", "ETCD_LOCAL_CACHE"]);
}
