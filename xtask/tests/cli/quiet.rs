//! `--quiet`: errors, data that was asked for, and nothing else.

use crate::playground::{Playground, TRUE, build_console};

#[test]
fn what_was_done_is_not_said() {
    build_console();
    let play = Playground::new();
    let lines: [&[&str]; 10] = [
        &["etcd-up"],
        &["etcd-up"],
        &["run", TRUE],
        &["etcd-reset", "--yes"],
        &["etcd-down"],
        &["etcd-down"],
        &["etcd-reset", "--yes"],
        &["etcd-reset", "--yes"],
        &["etcd-install", "3.7.2"],
        &["run", TRUE],
    ];
    for line in lines {
        let run = play.xtask(&[&["-q"], line].concat()).ok();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""), "{line:?}");
    }
}

#[test]
fn what_was_asked_for_is() {
    let play = Playground::new();
    let said = |args: &[&str]| play.xtask(&[&["-q"], args].concat()).ok().stdout;
    assert!(said(&["etcd-up", "--format", "json"]).contains("\"started\":true"));
    assert!(said(&["etcd-status"]).contains("is ready"));
    assert!(said(&["env"]).contains("ETCD_ENDPOINTS"));
    assert!(said(&["etcd-install", "--list"]).contains("3.7.2"));
    assert!(!said(&["etcd-logs"]).is_empty());
    assert!(said(&["etcd-down", "--format", "json"]).contains("\"stopped\":true"));
    play.xtask(&["-q", "env"]).fails(3, &["is not running"]);
}
