//! Ephemeral clusters of several members, of every version: they start, and their members come and go.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should fail on the spot"
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;

use etcd_local::{Builder, Ephemeral, EphemeralError, LaunchError, Member, PortKind};
use testkit::{Etcd, eventually};

fn builder(etcd: Etcd, members: usize) -> Builder {
    etcd.builder(env!("CARGO_MANIFEST_DIR")).members(members).unwrap()
}

/// Calls the JSON gateway of a member; `None`: it refuses or does not answer.
fn ask(member: &Member, call: &str, body: &str) -> Option<serde_json::Value> {
    let url = format!("{}/v3/{call}", member.endpoint());
    let answer = minreq::post(url).with_body(body).with_timeout(5).send().ok()?;
    serde_json::from_slice(answer.as_bytes()).ok().filter(|_| answer.status_code == 200)
}

/// Whether a write succeeds sooner or later, and any member reads it.
fn serves(etcd: &Ephemeral, value: &str) -> bool {
    let put = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
    let running = || etcd.members().iter().filter(|member| member.is_running());
    let reads = |member| {
        let answer = ask(member, "kv/range", r#"{"key":"YQ=="}"#)?;
        Some(answer["kvs"][0]["value"] == value)
    };
    eventually(|| running().any(|member| ask(member, "kv/put", &put).is_some()))
        && running().all(|member| eventually(|| reads(member) == Some(true)))
}

/// The ids of the members, as one of them tells.
fn told_ids(member: &Member) -> BTreeSet<u64> {
    let list = ask(member, "cluster/member/list", "{}").unwrap();
    let members = list["members"].as_array().unwrap().iter();
    members.map(|member| member["ID"].as_str().unwrap().parse().unwrap()).collect()
}

fn another<'a>(etcd: &'a Ephemeral, than: &Member) -> &'a Member {
    etcd.members().iter().find(|member| member.id() != than.id()).unwrap()
}

fn members_come_and_go(version: Etcd) {
    let etcd = builder(version, 3).start_ephemeral().unwrap();
    assert_eq!((etcd.members().len(), etcd.endpoints().len(), etcd.is_alive()), (3, 3, true));
    assert!(serves(&etcd, "AQ=="));
    let ids: BTreeSet<u64> = etcd.members().iter().map(Member::id).collect();
    etcd.members().iter().for_each(|member| assert_eq!(told_ids(member), ids));

    let first = etcd.leader().unwrap();
    first.kill().unwrap();
    let second = etcd.leader().unwrap();
    assert_ne!(first.id(), second.id());
    assert!(!etcd.is_alive() && !first.is_running() && serves(&etcd, "Ag=="));

    let pid = first.pid();
    etcd.restart(first).unwrap();
    assert!(etcd.is_alive() && first.pid() != pid);
    assert!(serves(&etcd, "Aw=="));
    assert_eq!(told_ids(first), ids);

    let other = another(&etcd, etcd.leader().unwrap());
    etcd.move_leadership(other).unwrap();
    assert_eq!(etcd.leader().unwrap().id(), other.id());

    other.stop().unwrap();
    assert_ne!(etcd.leader().unwrap().id(), other.id());
    let Err(EphemeralError::Leadership { to, .. }) = etcd.move_leadership(other) else { unreachable!() };
    assert_eq!(to, other.name());
    etcd.restart(other).unwrap();
    assert!(serves(&etcd, "BA=="));
}

#[test]
fn members_come_and_go_of_3_4() {
    match Etcd::System.wanted() {
        Some(_) => members_come_and_go(Etcd::System),
        None => eprintln!("not tested: this machine has no etcd of its own"),
    }
}

#[test]
fn members_come_and_go_of_3_5() {
    members_come_and_go(Etcd::V3_5);
}

#[test]
fn members_come_and_go_of_3_6() {
    members_come_and_go(Etcd::V3_6);
}

#[test]
fn members_come_and_go_of_3_7() {
    members_come_and_go(Etcd::V3_7);
}

#[test]
fn five_members_lose_two_and_then_the_majority() {
    let etcd = builder(Etcd::V3_7, 5).start_ephemeral().unwrap();
    let mut lost = Vec::new();
    for _ in 0..3 {
        lost.push(etcd.leader().unwrap());
        lost.last().unwrap().kill().unwrap();
    }
    assert_eq!(lost.iter().map(|member| member.id()).collect::<BTreeSet<_>>().len(), 3);
    etcd.members().iter().for_each(|member| member.kill().unwrap());
    // The first two cannot serve alone, and their start does not wait for that.
    etcd.members().iter().for_each(|member| etcd.restart(member).unwrap());
    assert!(etcd.is_alive() && serves(&etcd, "AQ=="));
}

#[test]
fn an_only_member_is_restarted_on_its_data() {
    let etcd = Etcd::V3_7.alone(&[]);
    assert!(serves(&etcd, "AQ=="));
    let [member] = etcd.members() else { unreachable!() };
    for end in [Member::kill, Member::stop] {
        end(member).unwrap();
        etcd.restart(member).unwrap();
        assert_eq!(ask(member, "kv/range", r#"{"key":"YQ=="}"#).unwrap()["kvs"][0]["value"], "AQ==");
        assert_eq!(etcd.leader().unwrap().id(), member.id());
    }
}

/// With users, etcd 3.7 tells nobody without one who leads. That is said at once, and a restart does not need it.
#[test]
fn a_cluster_with_users_is_still_restarted() {
    let etcd = builder(Etcd::V3_7, 3).start_ephemeral().unwrap();
    let [member, ..] = etcd.members() else { unreachable!() };
    for (call, body) in [
        ("auth/user/add", r#"{"name":"root","password":"x"}"#),
        ("auth/role/add", r#"{"name":"root"}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/enable", "{}"),
    ] {
        ask(member, call, body).unwrap();
    }
    assert!(eventually(|| matches!(etcd.leader(), Err(EphemeralError::Member { .. }))));
    member.kill().unwrap();
    etcd.restart(member).unwrap();
    assert!(etcd.is_alive());
}

#[test]
fn a_member_whose_port_was_taken_meanwhile_says_so() {
    let etcd = builder(Etcd::V3_7, 3).start_ephemeral().unwrap();
    let [_, member, _] = etcd.members() else { unreachable!() };
    member.kill().unwrap();
    let taken = TcpListener::bind(member.peer_url().trim_start_matches("http://")).unwrap();
    let Err(EphemeralError::Launch(failed)) = etcd.restart(member) else { unreachable!() };
    assert!(matches!(failed.error, LaunchError::PortTaken { kind: PortKind::Peer, .. }), "{failed}");
    assert_eq!(failed.member.as_deref(), Some("m2"));
    drop(taken);
    etcd.restart(member).unwrap();
    assert!(serves(&etcd, "AQ=="));
}

/// As in the middle of an upgrade.
#[test]
fn the_members_of_a_mixed_cluster_run_the_versions_in_turn() {
    let mixed = [Etcd::V3_6, Etcd::V3_7].map(|etcd| etcd.wanted().unwrap());
    let etcd = builder(Etcd::V3_7, 3).mixed(mixed.to_vec()).start_ephemeral().unwrap();
    let run_as_told = || {
        for (member, version) in etcd.members().iter().zip(["3.6.7", "3.7.2", "3.6.7"]) {
            let answer = minreq::get(format!("{}/version", member.endpoint())).with_timeout(5).send().unwrap();
            let told: serde_json::Value = serde_json::from_slice(answer.as_bytes()).unwrap();
            assert_eq!(
                (member.version().to_string(), told["etcdserver"].as_str()),
                (version.to_owned(), Some(version))
            );
        }
    };
    run_as_told();
    assert!(serves(&etcd, "AQ=="));
    let [_, newer, _] = etcd.members() else { unreachable!() };
    newer.kill().unwrap();
    assert!(serves(&etcd, "Ag=="));
    etcd.restart(newer).unwrap();
    run_as_told();
}

/// The first members run already when the last one fails.
#[cfg(unix)]
#[test]
fn a_start_that_fails_names_the_member_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let real = Etcd::V3_7.alone(&[]).binary().to_owned();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--name=m3*) echo 'broken on purpose' >&2; exit 7;; esac\nexec {} \"$@\"\n",
        real.display()
    );
    let path = dir.path().join("etcd");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let builder = builder(Etcd::V3_7, 3).etcd(etcd_local::binary::Wanted::At(path));
    let temp = tempfile::tempdir().unwrap();
    let env = etcd_local::Env::from_process().unwrap().with_temp_dir(temp.path());
    let Err(error) = builder.environment(env).start_ephemeral() else { unreachable!() };
    let text = error.to_string();
    assert!(text.contains("the member `m3` failed") && text.contains("broken on purpose"), "{text}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_number_of_members_that_no_cluster_has_is_refused() {
    for members in [0, 2, 4, 6, 8, 9] {
        let error = Etcd::V3_7.builder(".").members(members).err().unwrap();
        assert!(error.to_string().contains(&format!("cannot have {members} members: it has 1, 3, 5 or 7")), "{error}");
    }
}
