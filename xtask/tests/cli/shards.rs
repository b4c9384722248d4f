//! Shards of one suite, as jobs of CI run them: at the same time, on one cluster with TLS and users.

use std::fs;

use crate::playground::{Playground, eventually, skipped};
use crate::secure_clusters::{World, world};

/// Each test writes a key of its own below the run's prefix, and finds only that key there.
const TESTS: &str = r#"
fn xtask(args: &[&str]) -> String {
    let output = std::process::Command::new(std::env::var("XTASK").unwrap()).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn writes(name: &str) {
    let prefix = format!("{}{name}/", std::env::var("ETCD_TEST_PREFIX").unwrap());
    xtask(&["put", &format!("{prefix}key"), name]);
    assert_eq!(xtask(&["get", &prefix, "--prefix", "--print-value-only"]), format!("{name}\n"));
}

macro_rules! tests {
    ($($name:ident)*) => { $(#[test] fn $name() { writes(stringify!($name)); })* };
}

tests! { a b c d e f g h }
"#;

#[test]
fn eight_shards_share_one_cluster_and_leave_nothing() {
    let World { play, server: _server, .. } = world("shards");
    share(play, |_| {});
}

#[test]
fn eight_shards_share_members_one_of_which_restarts() {
    let cluster = testkit::builder(env!("CARGO_MANIFEST_DIR")).members(3).unwrap().start_ephemeral().unwrap();
    let play = crate::keys::play();
    let endpoints = cluster.endpoints().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    play.configure(&format!("[workspace.metadata.etcd.clusters.ci]\nendpoints = [{endpoints}]"));
    share(play, |play| {
        let runs = || play.xtask(&["runs", "--cluster", "ci"]).ok().stdout;
        assert!(eventually(|| runs().contains("alive")), "no shard begins: {}", runs());
        // A follower, gracefully: no write that is under way is lost with it.
        let leader = cluster.leader().unwrap().id();
        let member = cluster.members().iter().find(|member| member.id() != leader).unwrap();
        member.stop().unwrap();
        cluster.restart(member).unwrap();
    });
}

/// Runs eight shards at the same time, and `meanwhile`.
fn share(play: Playground, meanwhile: impl FnOnce(&Playground)) {
    let play = play.that_builds().with("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let manifest = fs::read_to_string(play.path("Cargo.toml")).unwrap();
    let package = "[package]\nname = \"play\"\nedition = \"2021\"\n\n";
    fs::write(play.path("Cargo.toml"), format!("{package}{manifest}")).unwrap();
    fs::create_dir(play.path("src")).unwrap();
    fs::write(play.path("src/lib.rs"), "").unwrap();
    fs::create_dir(play.path("tests")).unwrap();
    fs::write(play.path("tests/shared.rs"), TESTS).unwrap();
    play.xtask(&["put", "/Inventory/v1/canary", "alive", "--cluster", "ci"]).ok();

    let shard = |n: usize| {
        let partition = format!("slice:{n}/8");
        play.xtask(&["test", "--runner", "nextest", "--cluster", "ci", "--partition", &partition])
    };
    let runs: Vec<_> = std::thread::scope(|scope| {
        let shards: Vec<_> = (1..=8).map(|n| scope.spawn(move || shard(n))).collect();
        meanwhile(&play);
        shards.into_iter().map(|shard| shard.join().unwrap()).collect()
    });
    if runs.iter().any(|run| run.stderr.contains("nextest is not installed")) {
        return skipped("nextest is not installed");
    }
    for run in runs {
        let run = run.ok();
        assert!(run.stderr.contains("1 test run: 1 passed") && run.stderr.contains("1 key swept"), "{run:#?}");
    }
    let left = play.xtask(&["get", "/Inventory/v1/", "--prefix", "--keys-only", "--cluster", "ci"]).ok().stdout;
    assert_eq!(left, "/Inventory/v1/canary\n");
}
