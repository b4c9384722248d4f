//! Command lines that mean something else than they say: the tip says what they would have meant.

use crate::playground::Playground;

#[test]
fn a_value_without_its_flag_gets_the_flag() {
    let play = Playground::new();
    for (line, meant) in [
        ("etcd-up 3.6", "'--etcd 3.6'"),
        ("etcd-up ^3.5", "'--etcd ^3.5'"),
        ("etcd-up 12379", "'--port 12379'"),
        ("etcd-up ./my/data", "'--data-dir ./my/data'"),
        ("etcd-up scratch", "'--instance scratch'"),
        ("etcd-down scratch", "'--instance scratch'"),
        ("etcd-reset scratch --yes", "'--instance scratch'"),
        ("etcd-status scratch", "'--instance scratch'"),
        ("etcd-logs scratch", "'--instance scratch'"),
        ("env scratch", "'--instance scratch'"),
    ] {
        let run = play.xtask(&line.split(' ').collect::<Vec<_>>());
        assert!(run.code == Some(2) && run.stderr.contains("tip: to pass"), "{line}: {run:?}");
        assert!(run.stderr.contains(meant), "{line}: {run:?}");
    }
    for line in [&["doctor", "scratch"][..], &["etcd-up", "--nope"], &["etcd-down", "3.6"]] {
        let run = play.xtask(line);
        assert!(run.code == Some(2) && !run.stderr.contains("as the value of an option"), "{line:?}: {run:?}");
    }
    assert!(!play.path(".etcd/default").exists());
}

#[test]
fn commands_of_other_programs_lead_to_ours_or_to_etcdctl() {
    let play = Playground::new();
    for (name, meant) in [
        ("ls", "`cargo xtask get PREFIX --prefix --keys-only`"),
        ("delete", "`cargo xtask del KEY`"),
        ("set", "`cargo xtask put KEY VALUE`"),
        ("start", "`cargo xtask etcd-up`"),
        ("members", "`cargo xtask member list`"),
        ("txn", "`cargo xtask etcdctl -- txn`"),
        ("endpoint", "`cargo xtask etcdctl -- endpoint`"),
        ("snapshot", "`cargo xtask etcdctl -- snapshot`"),
        ("compact", "compact"),
    ] {
        let run = play.xtask(&[name, "x"]);
        assert!(run.code == Some(2) && run.stderr.contains("tip: ") && run.stderr.contains(meant), "{name}: {run:?}");
    }
}
