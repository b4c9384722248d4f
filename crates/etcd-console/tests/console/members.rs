//! `member add`, `remove` and `promote`, on clusters of three.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::{Etcd, Run, free_port};

use crate::cluster::{Cluster, builder, eventually};

/// A server that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn three() -> Cluster {
    Cluster::of(builder().members(3).unwrap())
}

fn free_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

fn members(cluster: &Cluster) -> Vec<Value> {
    serde_json::from_str(&cluster.run(&["member", "list", "--format", "json"]).ok().stdout).unwrap()
}

/// Etcd changes its members only when they have been connected for some seconds.
fn when_connected(cluster: &Cluster, args: &[&str]) -> Run {
    let mut last = None;
    let is_done = eventually(|| {
        let run = cluster.run(args);
        let is_too_early = run.stderr.contains("unhealthy cluster");
        assert!(!is_too_early || run.stderr.contains("connected for five seconds"), "{run:?}");
        last = Some(run);
        !is_too_early
    });
    assert!(is_done, "{last:?}");
    last.unwrap()
}

/// The `--initial-cluster` that an answer names, for a member called `m4`.
fn initial_cluster(said: &str) -> String {
    let flag = said.split("--initial-cluster ").nth(1).and_then(|rest| rest.split_whitespace().next());
    flag.unwrap_or_else(|| panic!("{said}")).replace("NAME=", "m4=")
}

fn start(cluster: &Cluster, peer_url: &str, said: &str) -> Server {
    let (client, data) = (free_url(), cluster.dir.path().join("m4"));
    let mut command = Command::new(cluster.etcd.binary());
    command.args(["--name", "m4", "--initial-cluster-state", "existing", "--initial-cluster", &initial_cluster(said)]);
    command.args(["--initial-advertise-peer-urls", peer_url, "--listen-peer-urls", peer_url]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]).arg("--data-dir").arg(data);
    Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn a_learner_is_added_started_promoted_and_removed() {
    let cluster = three();
    cluster.put("/a", "b");
    let peer_url = free_url();
    let added = when_connected(&cluster, &["member", "add", "--learner", &peer_url]).ok().stdout;
    assert!(added.starts_with("added learner "), "{added}");
    let id = members(&cluster).iter().find(|member| member["learner"] == true).unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    let promote = ["member", "promote", id];
    cluster.run(&promote).fails(1, &["cannot vote yet", "give the same command again"]);
    cluster.run(&["member", "add", &peer_url]).fails(1, &["already exist", "`member list` shows"]);

    let _server = start(&cluster, &peer_url, &added);
    assert!(eventually(|| cluster.run(&promote).code == Some(0)));
    cluster.run(&promote).fails(2, &["is not a learner", "m4"]);
    assert!(members(&cluster).iter().all(|member| member["learner"] == false));
    let removed = when_connected(&cluster, &["member", "remove", "m4"]).ok().stdout;
    assert_eq!(removed, format!("removed member `m4` ({id})\n"));
    assert_eq!(members(&cluster).len(), 3);
}

#[test]
fn a_removal_that_would_cost_the_quorum_is_refused() {
    let cluster = three();
    let [_, _, third] = cluster.etcd.members() else { panic!() };
    third.kill().unwrap();
    cluster.run(&["member", "remove", "m2"]).fails(4, &["lose its quorum", "only these are healthy: `m1`", "--force"]);
    let forced = cluster.run(&["member", "remove", "m2", "--force"]);
    assert_eq!((forced.code, members(&cluster).len()), (Some(1), 3), "{forced:?}");
    // What is gone costs nothing.
    when_connected(&cluster, &["member", "remove", &format!("{:016x}", third.id())]).ok();
    assert_eq!(members(&cluster).len(), 2);
    cluster.put("/a", "b");
}

#[test]
fn a_wrong_name_or_url_is_told_and_nothing_changes() {
    let cluster = three();
    cluster.run(&["member", "remove", "m9"]).fails(2, &["no member `m9`", "`m1`"]);
    cluster.run(&["member", "promote", "m1"]).fails(2, &["`m1`", "votes already"]);
    cluster.run(&["member", "add", "somewhere"]).fails(1, &["add the member `somewhere`", "http://IP:PORT"]);
    let one = Cluster::new();
    one.run(&["member", "remove", "ephemeral"]).fails(4, &["no other member votes"]);
    assert_eq!((members(&cluster).len(), members(&one).len()), (3, 1));
}

/// Its record lists the members.
#[test]
fn the_members_of_an_own_instance_stay() {
    let cluster = Cluster::new();
    cluster.record(cluster.etcd.cluster_id().to_string().into());
    for args in [
        &["member", "add", "http://127.0.0.1:1"][..],
        &["member", "remove", "ephemeral"],
        &["member", "promote", "ephemeral"],
    ] {
        // Also if an endpoint leads there.
        cluster.run(args).fails(4, &["etcd-member replace", "etcd-up --instance NAME"]);
        let run = testkit::finish_child(cluster.of_record(args).spawn().unwrap());
        run.fails(4, &["refused to", "`default`", "its record"]);
    }
    assert_eq!(members(&cluster).len(), 1);
}

/// Learners came with 3.4.
#[test]
fn older_etcds_take_learners() {
    for etcd in Etcd::every() {
        let cluster = Cluster::of(etcd.builder(env!("CARGO_MANIFEST_DIR")));
        let added = when_connected(&cluster, &["member", "add", "--learner", &free_url(), "--format", "json"]).ok();
        let added: Value = serde_json::from_str(&added.stdout).unwrap();
        assert_eq!((&added["learner"], &added["name"]), (&true.into(), &"".into()));
        let removed = cluster.run(&["member", "remove", added["id"].as_str().unwrap()]).ok().stdout;
        assert!(removed.contains("not started"), "{removed}");
    }
}
