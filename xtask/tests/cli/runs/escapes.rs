//! Changes outside of a run's keys are told at its end, and can be denied.

use crate::keys::play;

/// The script of a run: `$XTASK put KEY` for each key.
fn puts(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("$XTASK put {key} x;")).collect()
}

#[test]
fn changes_outside_of_a_run_are_told_and_can_be_denied() {
    let play = play().with("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let run = |flags: &[&str], script: &str| play.xtask(&[&["run"], flags, &["--", "sh", "-c", script]].concat());
    let inside = puts(&["${ETCD_TEST_PREFIX}a", "${ETCD_TEST_PREFIX}b"]);
    let outside = puts(&["/Inventory/v1/racks/1", "/Inventory/v1/racks/1", "/Inventory/v1/Test/Standard/a"]) + &inside;
    let words = "3 changes outside of this run's keys while it ran: `/Inventory/v1/racks/1`, \
                 `/Inventory/v1/Test/Standard/a`";
    for is_running in [false, true] {
        if is_running {
            play.up(&[]);
        }
        let told = run(&[], &inside).ok();
        assert!(!told.stderr.contains("outside"), "{}", told.stderr);
        run(&["--deny", "escapes"], &inside).ok();
        let told = run(&[], &outside).ok();
        assert!(told.stderr.contains(&format!("note: {words}\n")), "{}", told.stderr);
        assert_eq!(
            told.stderr.contains("  look: cargo xtask history \"\" --prefix --rev "),
            is_running,
            "{}",
            told.stderr
        );
        run(&["--deny", "escapes"], &outside).fails(1, &[words, "ETCD_TEST_PREFIX"]);
        // The failure of the command is more important.
        let failed = run(&["--deny", "escapes"], &(outside.clone() + "exit 7"));
        assert_eq!(failed.code, Some(7));
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
}

/// Another run's keys are its own business; those of a cluster elsewhere are told only on request.
#[test]
fn other_runs_and_clusters_elsewhere_are_left_alone() {
    let play = play().with("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let up = play.up(&[]);
    let inner = "$XTASK run -- sh -c '$XTASK put ${ETCD_TEST_PREFIX}a x'";
    play.xtask(&["run", "--deny", "escapes", "--", "sh", "-c", inner]).ok();
    let elsewhere = ["run", "--endpoints", up.endpoints[0].as_str()];
    let script = puts(&["/Inventory/v1/racks/1"]);
    let told = play.xtask(&[&elsewhere[..], &["--", "sh", "-c", &script]].concat()).ok();
    assert!(!told.stderr.contains("outside"), "{}", told.stderr);
    let denied = [&elsewhere[..], &["--deny", "escapes", "--", "sh", "-c", &script]].concat();
    play.xtask(&denied).fails(1, &["1 change outside of this run's keys while it ran: `/Inventory/v1/racks/1`"]);
}
