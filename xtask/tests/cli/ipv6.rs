//! An etcd at an IPv6 address: every command finds it, as at an IPv4 one.

use std::net::TcpListener;

use crate::playground::{Playground, build_console, skipped};

fn has_ipv6() -> bool {
    let found = TcpListener::bind("[::1]:0");
    if let Err(error) = &found {
        skipped(format_args!("this machine has no ::1: {error}"));
    }
    found.is_ok()
}

#[test]
fn every_command_finds_an_etcd_at_an_ipv6_address() {
    if !has_ipv6() {
        return;
    }
    build_console();
    let play = Playground::new().with("ETCDNODEADDR", "::1");
    let up = play.up(&[]);
    let url = &up.endpoints[0];
    assert!(url.starts_with("http://[::1]:"), "{url}");
    assert!(play.status().answers);
    play.xtask(&["put", "/k", "v"]).ok();
    for flags in [&[][..], &["--endpoints", url], &["--endpoints", url.trim_start_matches("http://")]] {
        let get = play.xtask(&[&["get", "/k"][..], flags].concat()).ok();
        assert!(get.stdout.contains('v'), "{flags:?}: {get:?}");
    }
    assert!(play.xtask(&["env"]).ok().stdout.contains(&format!("export ETCD_ENDPOINTS='{url}'")));
    let echo = ["run", "--", "sh", "-c", "echo at $ETCD_ENDPOINTS"];
    assert!(play.xtask(&echo).ok().stdout.contains(&format!("at {url}")));
    play.xtask(&["etcd-compact"]).ok();

    // Its port is kept, and an address that is set differently is told.
    play.xtask(&["etcd-restart"]).ok();
    assert_eq!(play.status().endpoints, up.endpoints);
    let play = play.with("ETCDNODEADDR", "127.0.0.1");
    let again = play.xtask(&["etcd-up"]).ok();
    assert!(again.stderr.contains("address ::1, not 127.0.0.1 (ETCDNODEADDR)"), "{again:?}");
    play.xtask(&["etcd-down"]).ok();
    let moved = play.up(&[]);
    assert!(moved.endpoints[0].starts_with("http://127.0.0.1:"), "{moved:?}");
    assert!(play.xtask(&["get", "/k"]).ok().stdout.contains('v'), "its data is the same");
}

#[test]
fn a_taken_ipv6_port_and_ephemeral_members_at_ipv6_addresses() {
    if !has_ipv6() {
        return;
    }
    build_console();
    let play = Playground::new().with("ETCDNODEADDR", "[::1]");
    let taken = TcpListener::bind("[::1]:0").unwrap();
    let number = taken.local_addr().unwrap().port().to_string();
    play.xtask(&["etcd-up", "--port", &number]).fails(1, &["the client port", &number, "is taken by pid"]);
    let echo = ["run", "--members", "3", "--", "sh", "-c", "echo at $ETCD_ENDPOINTS"];
    let run = play.xtask(&echo).ok();
    assert_eq!(run.stdout.matches("http://[::1]:").count(), 3, "{run:?}");
}
