//! Learners of an instance: they join after the members that vote, and are no endpoints and no part of a majority.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use etcd_local::{State, Status};
use serde_json::Value;

use crate::keys::play;
use crate::playground::{Playground, etcd, eventually, gateway, put};

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn data(play: &Playground, member: &str) -> PathBuf {
    play.path(&format!(".etcd/default/{member}/data"))
}

/// Each member with a mark if it is a learner, as the status says it.
fn members(status: &Status) -> Vec<(&str, bool, State)> {
    status.members.iter().map(|member| (member.name.as_str(), member.learner, member.state)).collect()
}

/// The names of the learners, as the cluster lists them.
fn listed(status: &Status) -> Vec<String> {
    let answer = gateway(status, "cluster/member/list", "{}".to_owned());
    let learners = answer["members"].as_array().unwrap().iter().filter(|member| member["isLearner"] == true);
    let mut names: Vec<_> = learners.map(|member| member["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// What a learner has of the key that [`put`] writes. It answers only for itself.
fn has(status: &Status, member: usize, expected: &str) -> bool {
    let learner = Status { endpoints: vec![status.members[member].endpoint.clone()], ..status.clone() };
    let answer = gateway(&learner, "kv/range", r#"{"key":"a2V5","serializable":true}"#.to_owned());
    answer.pointer("/kvs/0/value").and_then(Value::as_str) == Some(expected)
}

#[test]
fn learners_get_all_keys_and_do_not_vote() {
    let play = Playground::new();
    let up = play.up(&["--members", "3", "--learners", "2"]);
    let all = |state| {
        vec![("m1", false, state), ("m2", false, state), ("m3", false, state), ("l1", true, state), ("l2", true, state)]
    };
    assert_eq!((members(&up), up.endpoints.len(), up.pids.len()), (all(State::Ready), 3, 5));
    assert_eq!(listed(&up), ["l1", "l2"]);
    put(&up, "b25l");
    assert!(eventually(|| has(&up, 3, "b25l") && has(&up, 4, "b25l")));
    let record: Value = serde_json::from_slice(&fs::read(play.path(".etcd/default/instance.json")).unwrap()).unwrap();
    assert_eq!((&record["members"][3]["learner"], record["members"][2].get("learner")), (&true.into(), None));
    assert_eq!(record["endpoints"].as_array().unwrap().len(), 3);
    assert!(play.xtask(&["env"]).ok().stdout.contains(&format!("'{}'", up.endpoints.join(","))));
    let told = play.xtask(&["etcd-status"]).ok().stdout;
    assert!(told.contains("a learner that is ready, http://") && !told.contains("warning"), "{told}");
    assert!(play.xtask(&["etcd-logs", "--member", "l2"]).ok().stdout.contains("l2"));

    // A lost learner costs nothing. Learners do not make a majority.
    kill(up.members[3].pids[0]);
    assert!(eventually(|| play.status().members[3].state == State::Stopped));
    assert_eq!(play.status().state, State::Ready);
    let again = play.up(&[]);
    assert_eq!(
        (members(&again), &again.endpoints, &again.pids[..3]),
        (all(State::Ready), &up.endpoints, &up.pids[..3])
    );
    play.xtask(&["etcd-member", "stop", "m1"]).ok();
    let lost = play.xtask(&["etcd-member", "stop", "m3"]).ok();
    assert!(lost.stderr.contains("has no quorum: 1 of 3 members run"), "{lost:?}");
    assert_eq!(play.status().state, State::NoQuorum);
    play.xtask(&["run", "--", "true"]).fails(1, &["has no quorum"]);

    // One whose data is gone is a learner again.
    play.xtask(&["etcd-member", "stop", "l2"]).ok();
    fs::remove_dir_all(data(&play, "l2")).unwrap();
    let again = play.up(&[]);
    assert_eq!((members(&again), listed(&again)), (all(State::Ready), vec!["l1".to_owned(), "l2".to_owned()]));
    assert!(has(&again, 4, "b25l"));
    for asked in ["0", "1"] {
        play.xtask(&["etcd-up", "--learners", asked]).fails(1, &["--learners 2, not", "etcd-reset"]);
    }
    play.xtask(&["etcd-member", "recover", "l1", "--yes"]).fails(2, &["is a learner"]);
    play.xtask(&["etcd-down"]).ok();
    assert!(play.processes().is_empty());
}

/// One member changes its cluster at once; several must have been connected for five seconds.
#[test]
fn a_start_that_is_killed_while_a_learner_joins_is_finished_by_the_next() {
    let play = Playground::new();
    for has_begun in ["l1/data", "l1/data/member/wal"] {
        let mut up = play.command(&["etcd-up", "--learners", "1"]).spawn().unwrap();
        assert!(eventually(|| play.path(".etcd/default").join(has_begun).is_dir()));
        up.kill().unwrap();
        up.wait().unwrap();
        play.status().members[1].pids.iter().for_each(|pid| kill(*pid));
        let ready = play.up(&[]);
        assert_eq!(members(&ready), [("m1", false, State::Ready), ("l1", true, State::Ready)]);
        assert_eq!((listed(&ready), ready.endpoints.len()), (vec!["l1".to_owned()], 1));
        put(&ready, "b25l");
        assert!(eventually(|| has(&ready, 1, "b25l")));

        // Its record is lost: the names tell.
        fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
        assert_eq!(members(&play.up(&[])), members(&ready));
        play.xtask(&["etcd-down"]).ok();
        play.xtask(&["etcd-reset", "--yes"]).ok();
    }
}

#[test]
fn learners_with_tls_and_users_are_part_of_one_instance() {
    let play = play();
    let up = play.up(&["--learners", "1", "--tls=all", "--auth"]);
    let is_whole = |status: &Status| {
        assert_eq!(members(status), [("m1", false, State::Ready), ("l1", true, State::Ready)]);
        assert_eq!((&status.endpoints, &status.tls), (&up.endpoints, &up.tls));
        let listed = play.xtask(&["member", "list"]).ok().stdout;
        let learners: Vec<_> = listed.lines().filter(|line| line.ends_with(", true")).collect();
        assert!(learners.len() == 1 && learners[0].contains(", started, l1,"), "{listed}");
    };
    is_whole(&up);
    play.xtask(&["put", "a", "1"]).ok();
    play.xtask(&["etcd-compact"]).ok();
    play.xtask(&["member", "promote", "l1"]).fails(4, &["its record"]);
    is_whole(&play.xtask(&["etcd-member", "replace", "l1", "--format", "json"]).ok().status());
    is_whole(&play.xtask(&["etcd-restart", "--format", "json"]).ok().status());
    assert_eq!(play.xtask(&["get", "a", "--print-value-only"]).ok().stdout, "1\n");
    is_whole(&play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status());
    play.xtask(&["get", "a", "--print-value-only"]).fails(1, &["there is no key `a`"]);
}

#[test]
fn an_instance_that_has_no_learners_gets_none() {
    let play = Playground::new();
    play.up(&[]);
    play.xtask(&["etcd-up", "--learners", "1"]).fails(1, &["--learners 0, not 1", "`--instance NAME`"]);
    assert_eq!(play.xtask(&["etcd-up", "--learners", "9"]).code, Some(2));
    // The setting is for instances of several members.
    play.configure("port = \"auto\"\nlearners = 1");
    assert!(play.up(&[]).members.is_empty());
    let several = ["etcd-up", "--instance", "several", "--members", "3", "--format", "json"];
    assert_eq!(play.xtask(&several).ok().status().members.len(), 4);
    play.xtask(&["etcd-down", "--instance", "several"]).ok();
    let _here = etcd("3.5.27");
    let older = ["etcd-up", "--instance", "older", "--learners", "2", "--etcd", "3.5.27"];
    play.xtask(&older).fails(1, &["etcd 3.5.27 has at most one learner, not 2", "`--learners 1`"]);
    assert_eq!(play.processes().len(), 1);
}
