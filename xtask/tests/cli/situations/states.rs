//! Situations of a workspace: what became of it, of its record, and of the ports and variables around it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::Situation;
use super::class::Class;
use super::world::World;
use crate::playground::{eventually, lasting_etcd};

#[test]
fn healthy() {
    let build = || Some(World::running().0);
    Situation { name: "healthy", build, instance: Class::Running, cluster: Class::Running, except: &[] }.check();
}

#[test]
fn stopped() {
    fn build() -> Option<World> {
        let (world, _) = World::running();
        world.xtask(&["etcd-down"]).ok();
        Some(world)
    }
    Situation { name: "stopped", build, instance: Class::Stopped, cluster: Class::Stopped, except: &[] }.check();
}

/// As after a reboot: the record says that it runs, and its port is free.
#[test]
fn killed() {
    fn build() -> Option<World> {
        let (world, up) = World::running();
        kill_process(Pid::from_raw(up.pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
        assert!(eventually(|| world.play.processes().is_empty()), "it does not end");
        Some(world)
    }
    let name = "the server was killed";
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except: &[] }.check();
}

#[test]
fn copied() {
    fn build() -> Option<World> {
        let (mut world, up) = World::running();
        let original = world.play.path("original");
        fs::rename(&world.workspace, &original).unwrap();
        testkit::copy(&original, &world.workspace);
        world.guard(up);
        Some(world)
    }
    let name = "a copied workspace, its original running";
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except: &[] }.check();
}

#[test]
fn moved() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        let moved = world.play.path("moved");
        fs::rename(&world.workspace, &moved).unwrap();
        world.workspace = moved;
        Some(world)
    }
    let name = "a workspace that was moved under its server";
    // etcd writes its new file where the old one was, which is nowhere.
    let except = &[("etcd-compact", Class::Unknown, 1)];
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except }.check();
}

#[test]
fn record_gone() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        world.spoil = |world| drop(fs::remove_file(world.workspace.join(".etcd/default/instance.json")));
        (world.spoil)(&world);
        Some(world)
    }
    let name = "the record is gone, and the server lives";
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except: &[] }.check();
}

#[test]
fn everything_gone() {
    fn build() -> Option<World> {
        let mut world = World::new();
        let lasting = lasting_etcd(&world.play);
        world.vars.push(("ETCDBINPATH", lasting.to_str().unwrap().to_owned()));
        world.up();
        fs::remove_dir_all(world.workspace.join(".etcd")).unwrap();
        Some(world)
    }
    let name = ".etcd is gone, and the server lives";
    let except =
        &[("etcd-logs", Class::Orphaned, 1), ("etcd-down", Class::Orphaned, 0), ("etcd-reset", Class::Running, 0)];
    Situation { name, build, instance: Class::Orphaned, cluster: Class::Orphaned, except }.check();
}

#[test]
fn record_damaged() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        world.spoil = |world| fs::write(world.workspace.join(".etcd/default/instance.json"), "{\"sch").unwrap();
        (world.spoil)(&world);
        Some(world)
    }
    let name = "the record is damaged, and the server lives";
    Situation { name, build, instance: Class::Running, cluster: Class::Running, except: &[] }.check();
}

#[test]
fn record_newer() {
    fn build() -> Option<World> {
        let (world, _) = World::running();
        let record = world.workspace.join(".etcd/default/instance.json");
        let newer = fs::read_to_string(&record).unwrap().replace("\"schema\": 1", "\"schema\": 99");
        fs::write(record, newer).unwrap();
        Some(world)
    }
    let name = "the record is of a newer schema, and the server lives";
    let except = &[("etcd-status", Class::Newer, 1), ("doctor", Class::Newer, 1)];
    Situation { name, build, instance: Class::Newer, cluster: Class::Newer, except }.check();
}

#[test]
fn stale_variable() {
    fn build() -> Option<World> {
        let (mut world, _) = World::running();
        world.vars.push(("ETCD_ENDPOINTS", "http://127.0.0.1:1".to_owned()));
        world.wait = "5";
        Some(world)
    }
    let name = "ETCD_ENDPOINTS leads to nobody";
    Situation { name, build, instance: Class::Running, cluster: Class::Misled, except: &[] }.check();
}

/// The instance was killed, so that its record still says that it runs, and another workspace's etcd took its port.
#[test]
fn port_taken() {
    fn build() -> Option<World> {
        let (mut world, up) = World::running();
        let port = crate::playground::port(&up);
        kill_process(Pid::from_raw(up.pids[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
        assert!(eventually(|| world.play.processes().is_empty()), "it does not end");
        let own = std::mem::replace(&mut world.workspace, world.play.path("other"));
        world.configure(&format!("port = {port}\npeer-port = \"auto\""));
        let other = world.up();
        world.guard(other);
        world.workspace = own;
        world.configure(&format!("port = {port}\npeer-port = \"auto\""));
        Some(world)
    }
    let name = "a foreign etcd has the port that Cargo.toml names";
    let except = &[("etcd-up", Class::Foreign, 1)];
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except }.check();
}

#[test]
fn port_taken_from_the_start() {
    fn build() -> Option<World> {
        let (mut world, up) = World::running();
        let port = crate::playground::port(&up);
        world.guard(up);
        world.workspace = world.play.path("new");
        world.configure(&format!("port = {port}\npeer-port = \"auto\""));
        Some(world)
    }
    let name = "a foreign etcd has the port, and no etcd ever ran here";
    let except = &[("etcd-up", Class::Foreign, 1), ("etcd-logs", Class::Unknown, 1)];
    Situation { name, build, instance: Class::Stopped, cluster: Class::Stopped, except }.check();
}

#[test]
fn paused() {
    fn build() -> Option<World> {
        let (mut world, up) = World::running();
        world.configure("port = \"auto\"\nstart-timeout = 1");
        kill_process(Pid::from_raw(up.pids[0].cast_signed()).unwrap(), Signal::STOP).unwrap();
        world.wait = "1";
        Some(world)
    }
    let name = "the server is paused";
    let except = &[
        ("env", Class::Running, 0),
        ("etcdctl", Class::Running, 0),
        ("etcd-down", Class::Running, 0),
        ("etcd-reset", Class::Running, 0),
    ];
    Situation { name, build, instance: Class::Mute, cluster: Class::Mute, except }.check_in(5);
}
