//! Instances of several members: their start, their end, and what was lost in between.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use etcd_local::{State, Status};

use crate::playground::{Playground, encoded, eventually, get, put};

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn states(status: &Status) -> Vec<State> {
    status.members.iter().map(|member| member.state).collect()
}

#[test]
fn three_members_start_stop_and_are_reset_as_one_instance() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    assert_eq!((first.state, states(&first)), (State::Ready, vec![State::Ready; 3]));
    assert_eq!((first.endpoints.len(), first.pids.len()), (3, 3));
    // Not where systems take ports from for connections: while members are stopped, nobody else is given theirs.
    let ports = first.endpoints.iter().map(|url| url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
    assert!(ports.clone().all(|port| port < 32_768), "{:?}", ports.collect::<Vec<_>>());
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(play.path(".etcd/default/instance.json")).unwrap()).unwrap();
    assert_eq!((record["schema"].as_u64(), record["members"].as_array().map(Vec::len)), (Some(2), Some(3)));
    put(&first, "b25l");
    assert_eq!(play.up(&[]).pids, first.pids, "a second `etcd-up` changes nothing");
    assert!(play.xtask(&["env"]).ok().stdout.contains(&first.endpoints.join(",")));
    assert!(play.xtask(&["etcd-logs", "--member", "m2"]).ok().stdout.contains("m2"));
    play.xtask(&["etcd-logs", "--member", "m9"]).fails(2, &["m9", "m1, m2, m3"]);

    // One is lost, then most are.
    kill(first.pids[1]);
    assert!(eventually(|| states(&play.status()) == [State::Ready, State::Stopped, State::Ready]));
    assert_eq!(play.status().state, State::Ready);
    let told = play.xtask(&["etcd-status"]).ok().stdout;
    assert!(told.contains("warning:   member m2 is not running; `cargo xtask etcd-up` starts it"), "{told}");
    play.xtask(&["etcd-compact"]).ok();
    kill(first.pids[2]);
    assert!(eventually(|| play.status().state == State::NoQuorum));
    assert!(play.xtask(&["etcd-status"]).stdout.contains("has no quorum"));
    let again = play.up(&[]);
    assert_eq!((again.pids[0], again.endpoints.clone()), (first.pids[0], first.endpoints.clone()));
    assert_eq!((states(&again), get(&again).as_deref()), (vec![State::Ready; 3], Some("b25l")));

    for asked in ["1", "5"] {
        play.xtask(&["etcd-up", "--members", asked]).fails(1, &["--members 3", asked]);
    }
    let even = play.xtask(&["etcd-up", "--members", "4"]);
    assert_eq!((even.code, even.stderr.contains("1, 3, 5, 7")), (Some(2), true), "{even:?}");
    let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert_eq!((reset.endpoints.clone(), get(&reset)), (again.endpoints, None));
    assert_ne!(reset.cluster_id, first.cluster_id);
    play.xtask(&["etcd-down"]).ok();
    assert!(play.processes().is_empty());
    assert_eq!(play.xtask(&["etcd-status"]).code, Some(3));
}

#[test]
fn a_member_whose_port_or_data_is_anothers_is_named_and_nothing_starts() {
    let play = Playground::new();
    let first = play.up(&["--members", "3"]);
    put(&first, "b25l");
    play.xtask(&["etcd-down"]).ok();
    let taken = TcpListener::bind(first.endpoints[2].trim_start_matches("http://")).unwrap();
    play.xtask(&["etcd-up"]).fails(1, &["m3", "client port"]);
    assert!(play.processes().is_empty());
    drop(taken);

    let data = |member: &str| play.path(&format!(".etcd/default/{member}/data"));
    fs::rename(data("m2"), play.path("kept")).unwrap();
    play.up(&["--instance", "other", "--members", "3"]);
    play.xtask(&["etcd-down", "--instance", "other"]).ok();
    fs::rename(play.path(".etcd/other/m2/data"), data("m2")).unwrap();
    play.xtask(&["etcd-up"]).fails(1, &["m2", "another cluster"]);
    assert!(play.processes().is_empty());
    // Not ours to delete.
    for again in ["m1", "m3"] {
        play.xtask(&["etcd-member", "start", again]).ok();
    }
    play.xtask(&["etcd-member", "replace", "m2"]).fails(1, &["m2", "another cluster"]);
    assert!(data("m2").join("member").is_dir());
    fs::remove_dir_all(data("m2")).unwrap();
    fs::rename(play.path("kept"), data("m2")).unwrap();
    assert_eq!(get(&play.up(&[])).as_deref(), Some("b25l"));
}

#[test]
fn a_start_that_is_killed_is_finished_by_the_next_and_a_lost_record_is_written_anew() {
    let play = Playground::new();
    let mut up = play.command(&["etcd-up", "--members", "3"]).spawn().unwrap();
    let is_begun = || Path::new(&play.path(".etcd/default/m2/instance.json")).exists();
    assert!(eventually(is_begun));
    up.kill().unwrap();
    up.wait().unwrap();
    let ready = play.up(&[]);
    assert_eq!((states(&ready), ready.pids.len()), (vec![State::Ready; 3], 3));
    put(&ready, "b25l");
    fs::write(play.path(".etcd/default/instance.json"), "{").unwrap();
    let again = play.up(&[]);
    assert_eq!((again.pids, again.cluster_id), (ready.pids, ready.cluster_id));
    play.xtask(&["etcd-down"]).ok();
    assert!(play.processes().is_empty());
}

#[test]
fn members_whose_data_is_elsewhere_say_where() {
    let play = Playground::new();
    let elsewhere = play.path("dev");
    assert_eq!(play.up(&["--members", "3", "--data-dir", "dev"]).data_dir, elsewhere);
    for line in [&["etcd-down"][..], &["etcd-up"], &["etcd-restart"]] {
        let said = play.xtask(line).ok().stdout;
        assert!(said.contains("dev") && !said.contains("data:  .etcd"), "{line:?}: {said}");
    }
    assert_eq!(play.status().data_dir, elsewhere);
    play.xtask(&["etcd-up", "--data-dir", "dev"]).ok();
    let wiped = play.xtask(&["etcd-reset", "--yes"]).ok().stdout;
    assert!(wiped.contains("wiped dev"), "{wiped}");
}

/// `etcd-down` kills the members: what etcd has acknowledged is on disk by then.
#[test]
fn a_stop_under_load_loses_no_acknowledged_write() {
    let rounds: u32 = std::env::var("ETCD_STOPS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let play = Playground::new();
    let mut acknowledged = BTreeSet::new();
    let mut next = 0;
    for _ in 0..rounds {
        let status = play.up(&["--members", "3"]);
        let is_over = AtomicBool::new(false);
        let written = AtomicBool::new(false);
        let write = |first: u32, endpoint: &str| {
            let numbers = (first..).take_while(|_| !is_over.load(Ordering::Relaxed));
            let put = |number: &u32| {
                let body = format!(r#"{{"key":"{}","value":"dg=="}}"#, encoded(*number));
                let answer = minreq::post(format!("{endpoint}/v3/kv/put")).with_body(body).with_timeout(5).send();
                let is_done = answer.is_ok_and(|answer| answer.status_code == 200);
                written.fetch_or(is_done, Ordering::Relaxed);
                is_done
            };
            numbers.take_while(|number| put(number)).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let starts = (0..3).map(|writer| next + writer * 10_000);
            let writers: Vec<_> = starts
                .zip(&status.endpoints)
                .map(|(first, url)| {
                    let write = &write;
                    scope.spawn(move || write(first, url))
                })
                .collect();
            assert!(eventually(|| written.load(Ordering::Relaxed)));
            play.xtask(&["etcd-down"]).ok();
            is_over.store(true, Ordering::Relaxed);
            writers.into_iter().for_each(|writer| acknowledged.extend(writer.join().unwrap()));
        });
        next = (next + 30_000) % 900_000;
    }
    let status = play.up(&[]);
    for number in acknowledged {
        let body = format!(r#"{{"key":"{}"}}"#, encoded(number));
        let answer = crate::playground::gateway(&status, "kv/range", body);
        assert!(answer.pointer("/kvs/0").is_some(), "{number} was acknowledged, and is lost");
    }
}
