//! Ephemeral instances end with their owner, however that ends. The owner is this test program, run again.

#![cfg(target_os = "linux")] // it looks into /proc; .ci/windows-proof does the same on Windows
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail on the spot")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_local::{Builder, Env, Ephemeral, Settings};
use testkit::eventually;

const ROLE: &str = "EPHEMERAL_OWNER";
const MEMBERS: &str = "EPHEMERAL_MEMBERS";

fn start(temp: &Path) -> Ephemeral {
    builder(temp).start_ephemeral().unwrap()
}

fn builder(temp: &Path) -> Builder {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).with_temp_dir(temp);
    let members = std::env::var(MEMBERS).map_or(1, |members| members.parse().unwrap());
    Builder::with_settings(env, env!("CARGO_MANIFEST_DIR"), Settings::default()).members(members).unwrap()
}

/// Not a test: what the owner does when the tests below run this program again.
#[test]
fn the_owner() {
    let (Ok(role), Ok(temp)) = (std::env::var(ROLE), std::env::var("EPHEMERAL_TEMP")) else { return };
    if role == "starves" {
        return starve(Path::new(&temp));
    }
    let etcd = start(Path::new(&temp));
    println!("owner of {} at {}", etcd.pid(), etcd.dir().display());
    if role == "panics" {
        panic!("as asked");
    }
    if role == "exits" {
        std::process::exit(3); // no destructor runs
    }
    let _ = std::io::stdin().read(&mut [0]);
}

/// With fewer and fewer files that may be open, a start fails here or there; wherever, it leaves nothing.
fn starve(temp: &Path) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let plenty = getrlimit(Resource::Nofile);
    // The limit is one of numbers, not of how many: what was inherited at high ones does not count.
    let free: Vec<u64> =
        (0..).filter(|number| !Path::new(&format!("/proc/self/fd/{number}")).exists()).take(24).collect();
    let builder = builder(temp);
    let mut failed = std::collections::BTreeSet::new();
    for (spare, &lowest_forbidden) in free.iter().enumerate() {
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowest_forbidden), maximum: plenty.maximum }).unwrap();
        let result = builder.start_ephemeral();
        setrlimit(Resource::Nofile, plenty).unwrap();
        let Err(error) = result.map(drop) else { continue };
        assert!(eventually(|| servers(temp) == 0), "a server is left by {error}, {spare} to spare");
        assert_eq!(entries(temp), 0, "files are left by {error}, {spare} to spare");
        failed.insert(error.to_string().split('`').next().unwrap_or_default().to_owned());
    }
    assert!(failed.contains("cannot start the janitor of "), "{failed:?}");
}

struct Owner {
    process: Child,
    server: u32,
    dir: std::path::PathBuf,
}

/// This program, as the owner of so many members.
fn command(role: &str, members: usize, temp: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_owner", "--exact", "--nocapture"]).env(ROLE, role).env("EPHEMERAL_TEMP", temp);
    command.env(MEMBERS, members.to_string());
    command
}

fn owner(role: &str, members: usize, temp: &Path) -> Owner {
    let mut command = command(role, members, temp);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("owner of ")?.1.to_owned())).unwrap();
    let (server, dir) = line.split_once(" at ").unwrap();
    Owner { process, server: server.parse().unwrap(), dir: dir.into() }
}

/// Zombies, which only wait for a reaper, are gone.
fn lives(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// How many servers have their data below `temp`.
fn servers(temp: &Path) -> usize {
    let mark = format!("--data-dir={}", temp.display());
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&mark) && line.starts_with(b"/")).count()
}

#[test]
fn it_is_gone_after_drop() {
    let temp = tempfile::tempdir().unwrap();
    let etcd = start(temp.path());
    let (pid, dir) = (etcd.pid(), etcd.dir().to_owned());
    assert!(etcd.is_alive() && lives(pid) && dir.exists());
    drop(etcd);
    assert!(!dir.exists() && entries(temp.path()) == 0);
    assert!(!lives(pid));
}

#[test]
fn it_is_gone_however_its_owner_ends() {
    use rustix::process::{Pid, Signal, kill_process};

    for (role, signal, members) in [
        ("panics", None, 1),
        ("exits", None, 3),
        ("waits", Some(Signal::INT), 1),
        ("waits", Some(Signal::TERM), 1),
        ("waits", Some(Signal::HUP), 1),
        ("waits", Some(Signal::KILL), 1),
        ("waits", Some(Signal::KILL), 3),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let mut owner = owner(role, members, temp.path());
        if let Some(signal) = signal {
            assert!(lives(owner.server));
            assert_eq!(servers(temp.path()), members);
            kill_process(Pid::from_child(&owner.process), signal).unwrap();
        }
        owner.process.wait().unwrap();
        assert!(eventually(|| servers(temp.path()) == 0), "{role} {signal:?}: a server of {members} lives");
        assert!(eventually(|| !owner.dir.exists()), "{role} {signal:?}: the directory stays");
    }
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    for members in [1, 3] {
        let temp = tempfile::tempdir().unwrap();
        let output = command("starves", members, temp.path()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn many_owners_killed_at_random_leave_nothing() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..16_u64 {
        let (members, pause) = if round % 2 == 0 { (1, round * 6) } else { (3, round * 20) };
        let mut command = command("waits", members, temp.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        std::thread::park_timeout(Duration::from_millis(pause));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    // What a janitor could not see, because it was not yet there, the next start sweeps.
    drop(start(temp.path()));
    let left = || fs::read_dir(temp.path()).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    assert!(eventually(|| servers(temp.path()) == 0), "servers are left");
    assert!(
        eventually(|| left().is_empty() || {
            drop(start(temp.path()));
            left().is_empty()
        }),
        "left: {:?}",
        left()
    );
}

#[test]
fn two_at_once_do_not_meet() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (start(temp.path()), start(temp.path()));
    assert_ne!(a.endpoints(), b.endpoints());
    assert_ne!(a.cluster_id(), b.cluster_id());
    drop(a);
    assert!(b.is_alive());
}
