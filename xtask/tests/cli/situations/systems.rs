//! Situations of the machine: other users, other namespaces, disks, and what the cluster itself refuses.

use std::fs;
use std::path::Path;

use super::Situation;
use super::class::Class;
use super::world::World;
use crate::playground::{etcd, gateway, privileged};

/// Nobody's number, most likely.
const STRANGER: &str = "1234";

/// A world whose programs and directories are for everybody, also where this checkout is not; `None` where we cannot
/// be somebody else.
fn with_a_stranger() -> Option<(World, Vec<String>)> {
    let mut world = World::new();
    let caller = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"];
    privileged(&[&caller[..], &["true"]].concat())?;
    let (here, etcd) = (world.play.path("etcd"), etcd("3.7.2"));
    testkit::copy(&etcd, &here);
    world.vars.push(("ETCDBINPATH", here.to_str().unwrap().to_owned()));
    let cache = world.play.path("home/cache");
    world.vars.push(("ETCD_LOCAL_CACHE", cache.to_str().unwrap().to_owned()));
    world.vars.push(("HOME", world.play.path("home").to_str().unwrap().to_owned()));
    for dir in ["tmp", "home"] {
        privileged(&["chmod", "1777", world.play.path(dir).to_str()?])?;
    }
    privileged(&[&caller[..], &["test", "-x", env!("CARGO_BIN_EXE_xtask")]].concat())?;
    Some((world, caller.map(str::to_owned).to_vec()))
}

#[test]
fn a_user_in_roots_workspace() {
    fn build() -> Option<World> {
        let (mut world, stranger) = with_a_stranger()?;
        let up = world.up();
        world.guard(up);
        world.caller = stranger;
        Some(world)
    }
    let name = "root's workspace, called by a user";
    let except = &[("etcd-list", Class::Forbidden, 1)];
    Situation { name, build, instance: Class::Forbidden, cluster: Class::Forbidden, except }.check();
}

#[test]
fn root_in_a_users_workspace() {
    fn build() -> Option<World> {
        let (mut world, stranger) = with_a_stranger()?;
        privileged(&["chown", "-R", STRANGER, world.workspace.to_str()?])?;
        world.caller = stranger;
        world.up();
        world.caller = Vec::new();
        world.owner = STRANGER.parse().ok();
        Some(world)
    }
    let name = "a user's workspace, called by root";
    let except = &[
        ("doctor", Class::Forbidden, 1),
        ("del", Class::Forbidden, 1),
        ("revert", Class::Forbidden, 1),
        ("etcd-down", Class::Forbidden, 1),
        ("etcd-reset", Class::Forbidden, 1),
    ];
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except }.check();
}

#[test]
fn another_pid_namespace() {
    fn build() -> Option<World> {
        let inside = ["unshare", "--pid", "--fork", "--mount-proc"];
        privileged(&[&inside[..], &["true"]].concat())?;
        let (mut world, _) = World::running();
        world.caller = inside.map(str::to_owned).to_vec();
        Some(world)
    }
    // Who only needs an answer has one.
    let name = "another PID namespace";
    let except = &[("env", Class::Hidden, 0), ("etcdctl", Class::Running, 0), ("etcd-up", Class::Hidden, 0)];
    Situation { name, build, instance: Class::Hidden, cluster: Class::Running, except }.check();
}

/// Without a mount at `at`, or with one that goes with the world.
fn mount(world: &mut World, at: &Path, args: &[&str]) -> Option<()> {
    privileged(&[&["mount"], args, &[at.to_str()?]].concat())?;
    world.mounted(at.to_owned());
    Some(())
}

/// The workspace on a small disk of its own.
fn on_a_small_disk(world: &mut World) -> Option<()> {
    let workspace = world.workspace.clone();
    mount(world, &workspace, &["-t", "tmpfs", "-o", "size=1m", "tmpfs"])?;
    world.configure("port = \"auto\"");
    Some(())
}

fn fill(world: &World) {
    let _ = fs::write(world.workspace.join("filler"), vec![0; 2 << 20]);
}

#[test]
fn a_full_disk() {
    fn build() -> Option<World> {
        let mut world = World::new();
        on_a_small_disk(&mut world)?;
        fs::write(world.undo(), "").unwrap();
        fill(&world);
        Some(world)
    }
    let name = "the disk of the workspace is full";
    let except = &[
        ("etcd-logs", Class::Unknown, 1), // it has never run
        ("doctor", Class::DiskFull, 1),
        ("run", Class::DiskFull, 1), // a run's lock is there
        ("run --ephemeral -- true", Class::DiskFull, 1),
        ("test", Class::DiskFull, 1),
        ("etcd-up", Class::DiskFull, 1),
    ];
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except }.check();
}

#[test]
fn a_full_disk_beside_a_server() {
    fn build() -> Option<World> {
        let mut world = World::new();
        on_a_small_disk(&mut world)?;
        world.vars.push(("ETCDDATA", world.play.path("data").to_str()?.to_owned()));
        world.up();
        fill(&world);
        Some(world)
    }
    let name = "the disk of the workspace is full, and its server runs";
    // What is stopped is stopped, whatever the record says of it.
    let except = &[
        ("doctor", Class::DiskFull, 1),
        ("del", Class::DiskFull, 1),
        ("run", Class::DiskFull, 1), // a run's lock is there
        ("run --ephemeral -- true", Class::DiskFull, 1),
        ("test", Class::DiskFull, 1),
        ("etcd-down", Class::DiskFull, 0),
        ("etcd-reset", Class::DiskFull, 1),
    ];
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except }.check();
}

fn read_only(world: &mut World) -> Option<()> {
    let workspace = world.workspace.clone();
    mount(world, &workspace, &["--bind", workspace.to_str()?])?;
    privileged(&["mount", "-o", "remount,ro,bind", workspace.to_str()?])
}

#[test]
fn nothing_writable() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        world.xtask(&["etcd-down"]).ok();
        read_only(&mut world)?;
        Some(world)
    }
    let name = "the workspace is read-only";
    let except = &[("etcd-up", Class::ReadOnly, 1), ("etcd-reset", Class::ReadOnly, 1), ("doctor", Class::ReadOnly, 1)];
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except }.check();
}

#[test]
fn nothing_writable_from_the_start() {
    fn build() -> Option<World> {
        let mut world = World::new();
        fs::write(world.undo(), "").unwrap();
        read_only(&mut world)?;
        Some(world)
    }
    let name = "the workspace is read-only, and no etcd ever ran here";
    let except = &[
        ("etcd-logs", Class::Unknown, 1),
        ("doctor", Class::ReadOnly, 1),
        ("del", Class::ReadOnly, 1), // there can be no undo file
        ("revert", Class::ReadOnly, 1),
        ("etcd-up", Class::ReadOnly, 1),
    ];
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except }.check();
}

#[test]
fn nothing_writable_beside_a_server() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        read_only(&mut world)?;
        Some(world)
    }
    let name = "the workspace is read-only, and its server runs";
    let except = &[
        ("doctor", Class::ReadOnly, 1),
        ("del", Class::ReadOnly, 1), // there can be no undo file
        ("etcd-down", Class::ReadOnly, 0),
        ("etcd-reset", Class::ReadOnly, 1),
        ("etcd-compact", Class::ReadOnly, 1),
    ];
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except }.check();
}

#[test]
fn a_full_store() {
    fn build() -> Option<World> {
        let (world, up) = World::running();
        gateway(&up, "maintenance/alarm", r#"{"action":"ACTIVATE","alarm":"NOSPACE"}"#.to_owned());
        Some(world)
    }
    let name = "the store is over its quota";
    let except = &[
        ("etcd-status", Class::StoreFull, 0),
        ("doctor", Class::StoreFull, 0),
        ("put", Class::StoreFull, 1),
        ("undo", Class::StoreFull, 1),
        ("run", Class::StoreFull, 1),
        ("test", Class::StoreFull, 1),
        ("etcd-up", Class::StoreFull, 0),
        ("etcd-compact", Class::StoreFull, 0),
    ];
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except }.check();
}

#[test]
fn users_are_asked_for() {
    fn build() -> Option<World> {
        let (world, up) = World::running();
        gateway(&up, "auth/user/add", r#"{"name":"root","password":"p"}"#.to_owned());
        gateway(&up, "auth/user/grant", r#"{"user":"root","role":"root"}"#.to_owned());
        gateway(&up, "auth/enable", "{}".to_owned());
        Some(world)
    }
    let name = "a test has enabled authentication";
    let except = &[
        ("etcd-status", Class::LockedOut, 0),
        ("doctor", Class::LockedOut, 0),
        ("etcd-up", Class::LockedOut, 0),
        ("etcd-compact", Class::LockedOut, 1),
    ];
    Situation { name, build, instance: Class::Running, cluster: Class::LockedOut, except }.check();
}
