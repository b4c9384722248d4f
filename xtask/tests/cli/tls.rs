//! The workspace's own etcds with TLS: what a client needs is found by the record, and nobody gets in without it.

use std::fs;

use etcd_local::{State, Status};
use testkit::secure::{Ca, Validity};

use crate::keys::play;
use crate::playground::{Playground, eventually};

fn get(play: &Playground, key: &str) -> String {
    play.xtask(&["get", key, "--print-value-only"]).ok().stdout
}

/// Without a certificate, etcd ends the connection.
fn answers_strangers(status: &Status) -> bool {
    let addresses = status.endpoints.iter().map(|url| url.split_once("://").unwrap().1);
    addresses.into_iter().any(|at| {
        minreq::get(format!("http://{at}/health")).with_timeout(10).send().is_ok_and(|answer| answer.status_code == 200)
    })
}

#[test]
fn an_instance_with_tls_is_used_like_any_other() {
    let play = play();
    let up = play.up(&["--tls"]);
    assert!(up.endpoints[0].starts_with("https://") && up.tls == Some(play.path(".etcd/default/tls")), "{up:?}");
    assert!(!answers_strangers(&up));
    play.xtask(&["put", "a", "1"]).ok();
    assert_eq!(play.up(&["--tls"]).pids, up.pids);
    assert_eq!(play.up(&[]).pids, up.pids);
    let shown = play.xtask(&["env", "--shell", "sh"]).ok().stdout;
    for name in ["ETCDCTL_CACERT='", "ETCDCTL_CERT='", "ETCDCTL_KEY='", "ETCD_ENDPOINTS='https://"] {
        assert!(shown.contains(name), "{shown}");
    }
    let inside =
        r#"test "$ETCDCTL_CACERT" && "$XTASK" put "${ETCD_TEST_PREFIX}a" 1 && "$XTASK" get a --print-value-only"#;
    let mut run = play.command(&["run", "--", "sh", "-c", inside]);
    run.env("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let run = testkit::finish(run).ok();
    assert!(run.stdout.ends_with("1\n") && run.stderr.contains("1 key swept"), "{run:?}");
    assert!(play.xtask(&["etcd-status"]).ok().stdout.contains(" MB in use, quota 2147.5 MB"));
    assert!(play.xtask(&["etcd-compact"]).ok().stdout.contains(" MB freed, "));
    play.xtask(&["doctor"]);

    // Neither a lost record nor a restart or a reset changes how it is reached.
    fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
    assert_eq!(get(&play, "a"), "1\n");
    let again = play.xtask(&["etcd-restart", "--format", "json"]).ok().status();
    assert_eq!((again.endpoints, again.tls.is_some()), (up.endpoints.clone(), true));
    assert_eq!(get(&play, "a"), "1\n");
    let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
    assert_eq!(&reset.endpoints, &up.endpoints);
    play.xtask(&["get", "a", "--print-value-only"]).fails(1, &["there is no key `a`"]);

    // The next start decides.
    play.xtask(&["put", "a", "2"]).ok();
    play.xtask(&["etcd-down"]).ok();
    let plain = play.up(&[]);
    assert!(plain.endpoints[0].starts_with("http://") && plain.tls.is_none() && answers_strangers(&plain));
    assert_eq!(get(&play, "a"), "2\n");
    play.xtask(&["etcd-up", "--tls"]).fails(1, &["already running with clients in plain text, not TLS", "etcd-down"]);
}

#[test]
fn members_with_tls_are_one_instance() {
    let play = play();
    let up = play.up(&["--members", "3", "--tls"]);
    assert_eq!((up.members.len(), up.state), (3, State::Ready));
    assert!(up.endpoints.iter().all(|url| url.starts_with("https://")) && !answers_strangers(&up));
    play.xtask(&["put", "a", "1"]).ok();
    let lost = up.members[1].pids[0];
    assert!(std::process::Command::new("kill").args(["-9", &lost.to_string()]).status().unwrap().success());
    assert!(eventually(|| play.status().members[1].state == State::Stopped));
    let again = play.up(&[]);
    assert_eq!((again.endpoints, again.tls), (up.endpoints.clone(), up.tls));
    play.xtask(&["etcd-down"]).ok();
    play.up(&["--tls"]);
    assert_eq!(get(&play, "a"), "1\n");
    play.xtask(&["etcd-reset", "--yes"]).ok();
    assert_eq!(play.status().endpoints, up.endpoints);
    play.xtask(&["get", "a", "--print-value-only"]).fails(1, &["there is no key `a`"]);
}

/// Whether the members' own ports answer in plain text.
fn peers_answer_strangers(play: &Playground) -> bool {
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(play.path(".etcd/default/instance.json")).unwrap()).unwrap();
    let members = record["members"].as_array().into_iter().flatten().chain([&record]);
    let urls: Vec<_> = members.map(|member| member["peer_url"].as_str().unwrap().to_owned()).collect();
    let addresses = urls.iter().map(|url| url.split_once("://").unwrap().1);
    addresses.into_iter().any(|at| {
        minreq::get(format!("http://{at}/version"))
            .with_timeout(10)
            .send()
            .is_ok_and(|answer| answer.status_code == 200)
    })
}

#[test]
fn peers_speak_tls_where_it_is_asked_for() {
    for (scope, clients_scheme) in [("all", "https://"), ("peer", "http://")] {
        let play = play();
        let up = play.up(&["--members", "3", &format!("--tls={scope}")]);
        assert_eq!((up.state, up.tls.is_some()), (State::Ready, scope == "all"), "{up:?}");
        assert_eq!(up.peer_tls, Some(play.path(".etcd/default/tls")));
        assert!(up.endpoints.iter().all(|url| url.starts_with(clients_scheme)) && !peers_answer_strangers(&play));
        play.xtask(&["put", "a", "1"]).ok();
        assert_eq!(play.up(&[]).pids, up.pids);
        play.xtask(&["etcd-member", "stop", "m2"]).ok();
        play.xtask(&["etcd-member", "start", "m2"]).ok();
        // One whose data is gone gets another id, which its new data says.
        play.xtask(&["etcd-member", "replace", "m3", "--yes"]).ok();
        fs::remove_file(play.path(".etcd/default/instance.json")).unwrap();
        assert_eq!(play.status().state, State::Ready);
        play.xtask(&["etcd-down"]).ok();
        // Members know each other by URL: how they speak stays.
        let again = play.up(if scope == "all" { &["--tls"] } else { &[] });
        assert_eq!((&again.endpoints, &again.peer_tls), (&up.endpoints, &up.peer_tls));
        assert_eq!(get(&play, "a"), "1\n");
        let reset = play.xtask(&["etcd-reset", "--yes", "--format", "json"]).ok().status();
        assert_eq!((&reset.peer_tls, reset.state), (&up.peer_tls, State::Ready));
        assert!(!peers_answer_strangers(&play));
        play.xtask(&["get", "a", "--print-value-only"]).fails(1, &["there is no key `a`"]);
    }
}

#[test]
fn an_only_member_has_tls_for_peers_as_each_start_asks() {
    let play = play();
    play.configure("port = \"auto\"\ntls = \"all\"");
    let up = play.up(&[]);
    assert!(up.tls.is_some() && up.peer_tls.is_some() && !peers_answer_strangers(&play), "{up:?}");
    play.xtask(&["put", "a", "1"]).ok();
    let again = play.xtask(&["etcd-restart", "--format", "json"]).ok().status();
    assert_eq!((&again.tls, &again.peer_tls), (&up.tls, &up.peer_tls));
    play.xtask(&["etcd-down"]).ok();
    let plain = play.up(&["--tls=client"]);
    assert!(plain.tls.is_some() && plain.peer_tls.is_none() && peers_answer_strangers(&play), "{plain:?}");
    assert_eq!(get(&play, "a"), "1\n");
    play.xtask(&["etcd-up", "--tls=all"]).fails(1, &["already running with peers in plain text, not TLS", "etcd-down"]);
    let run = play.xtask(&["etcd-up", "--tls", "both"]);
    assert!(run.code == Some(2) && run.stderr.contains("`both` is not `client`, `peer` or `all`"), "{run:?}");
}

#[test]
fn peers_of_members_that_are_there_stay_in_plain_text() {
    let play = play();
    play.up(&["--members", "3"]);
    play.xtask(&["etcd-down"]).ok();
    play.xtask(&["etcd-up", "--tls=peer"]).fails(1, &["was created with peers in plain text, not TLS", "hint:"]);
}

#[test]
fn certificates_of_ones_own_are_used_as_they_are() {
    let play = play();
    play.configure("port = \"auto\"\ntls = \"certs\"");
    play.xtask(&["etcd-up"]).fails(1, &["cannot read", "ca.pem", "hint: `tls` in Cargo.toml names a directory"]);
    assert!(play.processes().is_empty());
    let ca = Ca::new();
    fs::create_dir(play.path("certs")).unwrap();
    fs::write(play.path("certs/ca.pem"), &ca.pem).unwrap();
    let sign = |name: &str, hosts: &[&str], validity| {
        let made = ca.sign(hosts, name, validity);
        fs::write(play.path(&format!("certs/{name}.pem")), made.certificate).unwrap();
        fs::write(play.path(&format!("certs/{name}-key.pem")), made.key).unwrap();
    };
    sign("server", &["127.0.0.1"], Validity::Now);
    sign("client", &[], Validity::Now);
    assert_eq!(play.up(&[]).tls, Some(play.path("certs")));
    play.xtask(&["put", "a", "1"]).ok();
    // etcd reads its certificate again for each connection.
    sign("server", &["127.0.0.1"], Validity::Past);
    play.xtask(&["get", "a"]).fails(1, &["expired"]);
    sign("server", &["192.0.2.1"], Validity::Now);
    play.xtask(&["get", "a"]).fails(1, &["127.0.0.1"]);
}

#[test]
fn a_run_has_an_etcd_with_tls_of_its_own() {
    let play = play();
    for (flags, user) in [(&["--tls"][..], ""), (&["--tls", "--auth", "--members", "3"], "test-run-")] {
        let inside = r#"echo "$ETCDCTL_USER at $ETCD_ENDPOINTS" && "$XTASK" put "${ETCD_TEST_PREFIX}a" 1"#;
        let mut run = play.command(&[&["run"], flags, &["--", "sh", "-c", inside]].concat());
        run.env("XTASK", env!("CARGO_BIN_EXE_xtask"));
        let said = testkit::finish(run).ok().stdout;
        assert!(said.starts_with(user) && said.contains(" at https://"), "{said}");
    }
    assert!(play.path(".etcd/.tls/ca-key.pem").is_file());
}
