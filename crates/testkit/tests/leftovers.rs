//! What a killed test leaves is removed.
#![cfg(target_os = "linux")] // /proc
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use etcd_local::{Instance, Port, State};
use tempfile::TempDir;
use testkit::leftovers::Cleaner;

fn instance(dir: &TempDir) -> Instance {
    let builder = testkit::builder(dir.path());
    let instance = builder.port(Port::Auto).peer_port(Port::Auto).instance("left").unwrap();
    instance.up().unwrap();
    instance
}

/// Whether `from` could be mounted at `at`: only root may.
fn mounted(from: &Path, at: &Path) -> bool {
    std::fs::create_dir(at).unwrap();
    Command::new("mount").arg("--bind").args([from, at]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn servers_mounts_and_directories_go_and_nothing_else() {
    let [left, kept] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [left_server, kept_server] = [&left, &kept].map(instance);
    let is_mounted = mounted(kept.path(), &left.path().join("mounted"));
    let mut cleaner = Cleaner::start();
    cleaner.add(left.path());
    cleaner.clean();
    assert!(!left.path().exists(), "mounted: {is_mounted}");
    assert_eq!(left_server.status().unwrap().state, State::Stopped);
    assert_eq!(kept_server.status().unwrap().state, State::Ready);
    kept_server.down().unwrap();
}
