//! One of several members: stopped, started and replaced, while the others go on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use etcd_local::{State, Status};
use serde_json::Value;

use crate::playground::{Playground, etcd, eventually, gateway, get, put};

fn states(status: &Status) -> Vec<State> {
    status.members.iter().map(|member| member.state).collect()
}

fn record(play: &Playground) -> Value {
    serde_json::from_slice(&fs::read(play.path(".etcd/default/instance.json")).unwrap()).unwrap()
}

fn data(play: &Playground, member: &str) -> PathBuf {
    play.path(&format!(".etcd/default/{member}/data"))
}

/// As a client sees it that has only this member.
fn through(status: &Status, member: usize) -> Status {
    Status { endpoints: vec![status.members[member].endpoint.clone()], ..status.clone() }
}

/// What a member reads of the key that [`put`] writes, with all other members' consent.
#[track_caller]
fn reads(status: &Status, member: usize, expected: &str) {
    let answer = gateway(&through(status, member), "kv/range", r#"{"key":"a2V5"}"#.to_owned());
    let value = answer.pointer("/kvs/0/value").and_then(Value::as_str);
    assert_eq!(value, Some(expected), "m{} answers {answer}", member + 1);
}

/// The id of each member by its peer URL, as the cluster lists them.
fn listed(status: &Status) -> Vec<(String, String)> {
    let answer = gateway(status, "cluster/member/list", "{}".to_owned());
    let text = |member: &Value, at: &str| member.pointer(at).unwrap().as_str().unwrap().to_owned();
    let members = answer["members"].as_array().unwrap().iter();
    members.map(|member| (text(member, "/ID"), text(member, "/peerURLs/0"))).collect()
}

#[test]
fn a_member_stops_and_starts_while_the_others_go_on() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    for member in ["m1", "m2", "m3"] {
        // The leader is among them.
        let stopped = play.xtask(&["etcd-member", "stop", member, "--format", "json"]).ok().status();
        assert_eq!(states(&stopped).iter().filter(|state| **state == State::Stopped).count(), 1);
        assert_eq!(record(&play)["pids"].as_array().unwrap().len(), 2);
        let other = through(&first, if member == "m1" { 1 } else { 0 });
        put(&other, "b25l");
        let again = play.xtask(&["etcd-member", "stop", member]).ok().stdout;
        assert_eq!(again, format!("member `{member}` of etcd `default` was not running\n"));
        let started = play.xtask(&["etcd-member", "start", member, "--format", "json"]).ok().status();
        assert_eq!(states(&started), vec![State::Ready; 3]);
        assert_eq!((get(&started).as_deref(), started.cluster_id), (Some("b25l"), first.cluster_id));
    }
    let up = play.up(&[]);
    let restarted = play.xtask(&["etcd-member", "restart", "m2", "--format", "json"]).ok().status();
    assert_eq!((restarted.pids[0], restarted.pids[2]), (up.pids[0], up.pids[2]));
    assert_ne!(restarted.pids[1], up.pids[1]);

    // Without a majority nobody takes a write; a member starts all the same.
    play.xtask(&["etcd-member", "stop", "m3"]).ok();
    let lost = play.xtask(&["etcd-member", "stop", "m1"]).ok();
    assert!(lost.stderr.contains("warning: etcd `default` has no quorum: 1 of 3 members run"), "{lost:?}");
    play.xtask(&["etcd-member", "stop", "m2"]).ok();
    let alone = play.xtask(&["etcd-member", "start", "m2"]).ok();
    assert!(alone.stdout.contains("runs, and waits for the others"), "{alone:?}");
    let both = play.xtask(&["etcd-member", "start", "m3", "--format", "json"]).ok().status();
    assert_eq!((both.state, states(&both)), (State::Ready, vec![State::Stopped, State::Ready, State::Ready]));
    assert_eq!(get(&through(&both, 1)).as_deref(), Some("b25l"));
}

#[test]
fn what_has_no_such_member_says_which_there_are() {
    let play = Playground::new();
    play.up(&["--members", "3"]);
    play.up(&["--instance", "one"]);
    for action in ["stop", "start", "restart", "replace"] {
        play.xtask(&["etcd-member", action, "m9"]).fails(2, &["no member `m9`", "its members are m1, m2, m3"]);
        let line = ["etcd-member", action, "m1", "--instance", "one"];
        play.xtask(&line).fails(2, &["`one` has only one member", "`cargo xtask etcd-down --instance one` stops it"]);
    }
    assert_eq!(states(&play.status()), vec![State::Ready; 3]);
}

#[test]
fn a_member_without_data_is_replaced() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    put(&first, "b25l");
    let is_whole = |status: &Status| {
        assert_eq!((states(status), status.cluster_id), (vec![State::Ready; 3], first.cluster_id));
        assert_eq!(status.endpoints, first.endpoints);
        for member in 0..3 {
            reads(status, member, "b25l");
        }
    };
    // The others run.
    play.xtask(&["etcd-member", "stop", "m2"]).ok();
    fs::remove_dir_all(data(&play, "m2")).unwrap();
    play.xtask(&["etcd-member", "start", "m2"]).fails(1, &["m2", "is missing or empty", "etcd-member replace m2"]);
    let before = listed(&first);
    let up = play.xtask(&["etcd-up", "--format", "json"]).ok();
    assert!(up.stderr.contains("member `m2` of `default` joins the cluster, and gets"), "{up:?}");
    is_whole(&up.status());
    let (before, after): (Vec<_>, Vec<_>) = (before.into_iter().collect(), listed(&first));
    assert_eq!(after.iter().filter(|member| before.contains(member)).count(), 2, "{before:?} {after:?}");
    // Nobody runs; then the new member is one that starts with the others.
    play.xtask(&["etcd-down"]).ok();
    fs::remove_dir_all(data(&play, "m1")).unwrap();
    is_whole(&play.up(&[]));
    play.xtask(&["etcd-down"]).ok();
    is_whole(&play.up(&[]));
    // One that is whole, and runs.
    is_whole(&play.xtask(&["etcd-member", "replace", "m3", "--format", "json"]).ok().status());
    let left: Vec<_> = fs::read_dir(play.path(".etcd/default/m3")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("wiped")), "{left:?}");

    // Its data is damaged, and nobody runs.
    play.xtask(&["etcd-down"]).ok();
    let wal = fs::read_dir(data(&play, "m2").join("member/wal")).unwrap().flatten();
    for file in wal.filter(|file| file.path().extension().is_some_and(|extension| extension == "wal")) {
        fs::write(file.path(), "").unwrap();
    }
    play.xtask(&["etcd-up"])
        .fails(1, &["member `m2` cannot start", "it is empty", "`cargo xtask etcd-member replace m2`"]);
    is_whole(&play.xtask(&["etcd-member", "replace", "m2", "--format", "json"]).ok().status());
}

/// The leader follows another member before it is stopped.
fn a_leader_hands_over(play: &Playground) {
    let leads = |number: &usize| {
        let url = record(play)["members"][number - 1]["metrics_url"].as_str().unwrap().to_owned();
        let metrics = minreq::get(format!("{url}/metrics")).with_timeout(10).send().unwrap();
        metrics.as_str().unwrap().lines().any(|line| line == "etcd_server_is_leader 1")
    };
    let leader = format!("m{}", (1..=3).find(leads).unwrap());
    let log = play.path(&format!(".etcd/default/{leader}/etcd.log"));
    let before = fs::read_to_string(&log).unwrap().len();
    play.xtask(&["etcd-member", "restart", &leader]).ok();
    let text = fs::read_to_string(&log).unwrap();
    let end = text[before..].split("etcdmain").next().unwrap();
    assert!(end.contains("became follower at term"), "{end}");
}

/// Clients speak TLS and are users there: what asks etcd is another program.
#[test]
fn members_with_tls_and_users_are_upgraded_replaced_and_recovered() {
    let play = crate::keys::play();
    let _here = etcd("3.6.7");
    let first = play.up(&["--members", "3", "--tls", "--auth", "--etcd", "3.6.7"]);
    play.xtask(&["put", "a", "1"]).ok();
    play.xtask(&["member", "remove", "m1"]).fails(4, &["its record", "etcd-member replace"]);
    let is_whole = |status: &Status| {
        assert_eq!((states(status), status.cluster_id), (vec![State::Ready; 3], first.cluster_id));
        assert_eq!((&status.tls, &status.password_file), (&first.tls, &first.password_file));
        assert!(status.endpoints.iter().all(|url| url.starts_with("https://")), "{status:?}");
        assert_eq!(play.xtask(&["get", "a", "--print-value-only"]).ok().stdout, "1\n");
        assert_eq!(play.xtask(&["member", "list"]).ok().stdout.matches("started").count(), 3);
    };
    is_whole(&play.xtask(&["etcd-member", "restart", "m2", "--format", "json"]).ok().status());
    is_whole(&play.up(&["--etcd", "3.7.2"]));
    a_leader_hands_over(&play);
    is_whole(&play.xtask(&["etcd-member", "replace", "m1", "--format", "json"]).ok().status());
    play.xtask(&["etcd-member", "stop", "m3"]).ok();
    fs::remove_dir_all(data(&play, "m3")).unwrap();
    is_whole(&play.up(&[]));
    play.xtask(&["etcd-down"]).ok();
    for member in ["m2", "m3"] {
        fs::remove_dir_all(data(&play, member)).unwrap();
    }
    is_whole(&play.xtask(&["etcd-member", "recover", "m1", "--yes", "--format", "json"]).ok().status());
}

#[test]
fn an_instance_that_has_lost_its_quorum_goes_on_with_the_keys_of_one_member() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    put(&first, "b25l");
    // Each member forgets what it does not know to be acknowledged.
    reads(&first, 1, "b25l");
    gateway(&first, "kv/put", r#"{"key":"b3RoZXI="}"#.to_owned());
    let lose = || {
        play.xtask(&["etcd-down"]).ok();
        for member in ["m1", "m3"] {
            fs::remove_dir_all(data(&play, member)).unwrap();
        }
    };
    lose();
    play.xtask(&["etcd-up"]).fails(1, &["quorum is lost", "(m1, m3)", "`cargo xtask etcd-member recover m2`"]);
    assert!(play.processes().is_empty() && !data(&play, "m1").exists());
    play.xtask(&["etcd-member", "replace", "m1"]).fails(1, &["0 other members of `default` are ready"]);
    play.xtask(&["etcd-member", "recover", "m1", "--yes"]).fails(1, &["m1", "is missing or empty"]);
    play.xtask(&["etcd-member", "recover", "m2"]).fails(4, &["cannot ask", "etcd-member recover m2 --yes"]);
    let is_whole = |status: &Status| {
        assert_eq!((states(status), listed(status).len()), (vec![State::Ready; 3], 3));
        assert_eq!(status.cluster_id, first.cluster_id);
        for member in 0..3 {
            reads(status, member, "b25l");
        }
    };
    let recover = ["etcd-member", "recover", "m2", "--yes", "--format", "json"];
    is_whole(&play.xtask(&recover).ok().status());
    play.xtask(&recover).fails(4, &["3 of its 3 members have their data", "`cargo xtask etcd-up`"]);
    play.xtask(&["etcd-down"]).ok();
    is_whole(&play.up(&[]));

    // Killed when one has joined.
    lose();
    let mut child = play.command(&recover).spawn().unwrap();
    assert!(eventually(|| data(&play, "m1").join("member/wal").is_dir()));
    child.kill().unwrap();
    child.wait().unwrap();
    is_whole(&play.up(&[]));
}

/// etcd 3.6 adds no member while it misses another.
#[test]
fn two_of_five_members_without_data_are_replaced() {
    let play = Playground::new();
    let _here = etcd("3.6.7");
    let first = play.up(&["--members", "5", "--etcd", "3.6.7"]);
    put(&first, "b25l");
    play.xtask(&["etcd-down"]).ok();
    for member in ["m2", "m4"] {
        fs::remove_dir_all(data(&play, member)).unwrap();
    }
    let up = play.up(&["--etcd", "3.6.7"]);
    assert_eq!((states(&up), listed(&up).len()), (vec![State::Ready; 5], 5));
    (0..5).for_each(|member| reads(&up, member, "b25l"));
}

/// As after a kill between the steps: the next command goes on from there.
#[test]
fn a_replacement_that_was_cut_short_is_finished_by_the_next_command() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    put(&first, "b25l");
    let peer_url = record(&play)["members"][1]["peer_url"].as_str().unwrap().to_owned();
    let forget = || {
        play.xtask(&["etcd-member", "stop", "m2"]).ok();
        fs::remove_dir_all(data(&play, "m2")).unwrap();
        let (id, _) = listed(&first).into_iter().find(|(_, url)| *url == peer_url).unwrap();
        // Not before the others have been connected for some seconds.
        let remove = || gateway(&first, "cluster/member/remove", format!(r#"{{"ID":"{id}"}}"#));
        assert!(eventually(|| remove().get("members").is_some()));
    };
    let is_whole = |status: &Status| {
        assert_eq!((states(status), listed(status).len()), (vec![State::Ready; 3], 3));
        reads(status, 1, "b25l");
    };
    forget();
    is_whole(&play.up(&[]));
    forget();
    is_whole(&play.xtask(&["etcd-member", "replace", "m2", "--format", "json"]).ok().status());
    // All stop before it is added again.
    forget();
    play.xtask(&["etcd-down"]).ok();
    is_whole(&play.up(&[]));
    forget();
    let add = || gateway(&first, "cluster/member/add", format!(r#"{{"peerURLs":["{peer_url}"]}}"#));
    assert!(eventually(|| add().get("member").is_some()));
    is_whole(&play.up(&[]));

    // While the new member joins.
    forget();
    let mut up = play.command(&["etcd-up"]).spawn().unwrap();
    let has_begun = || data(&play, "m2").join("member/wal").is_dir();
    assert!(eventually(has_begun));
    up.kill().unwrap();
    up.wait().unwrap();
    let killed = play.status().members[1].pids.clone();
    for pid in killed {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    }
    assert!(eventually(|| play.status().members[1].state == State::Stopped));
    is_whole(&play.up(&[]));
}
