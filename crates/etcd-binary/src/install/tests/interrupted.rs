//! Installations that are killed, or run out of room, at any moment; and many of them at once.

use std::process::{Command, Stdio};

use super::*;
use etcd_system::wait::{Deadline, until};

/// Set in the child that is to be killed: the archive's sum, where it installs from, and to.
const CHILD: &str = "ETCD_LOCAL_TEST_INSTALL";

/// Not a test of its own: the body of the children that the tests below start.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [sum, mirror, dir] = told.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let path = Path::new(dir).join("plain-path");
    let env = Env::empty(dir).with("PATH", path).with("ETCD_LOCAL_CACHE", Path::new(dir).join("cache"));
    let binaries = Binaries::new(env, dir).mirror(mirror);
    let (wanted, route) = (VERSION.parse().unwrap(), Route::Only(Source::Release));
    if let Err(error) = binaries.install(Tool::Etcd, &wanted, route, Some(sum.parse().unwrap())) {
        println!("failed: {error}");
        std::process::exit(3);
    }
}

/// This test program again, as [`child`] only, started by the program in `wrap` if there is one.
fn start(bench: &Bench, mirror: &Mirror, sum: Sha256, wrap: &[&str]) -> Command {
    bench.env();
    let mut line: Vec<std::ffi::OsString> = wrap.iter().map(Into::into).collect();
    line.push(std::env::current_exe().unwrap().into());
    line.extend(["--exact", "install::tests::interrupted::child", "--nocapture"].map(Into::into));
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]);
    command.env(CHILD, format!("{sum} {} {}", mirror.url(), bench.dir.path().display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Kills within the download, and at the steps from the last byte of it to the end of the installation.
#[test]
fn after_a_kill_at_any_moment_the_next_installation_succeeds_and_clears_up() {
    let archive = fakes::release(VERSION);
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Slowly(archive, 50));
    let mut at_work = 0;
    let rounds = std::env::var("XTASK_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    for count in 0_u64..rounds.unwrap_or(24) {
        let round = count % 24;
        let bench = Bench::new();
        let mut child = start(&bench, &mirror, sum, &[]).spawn().unwrap();
        let scratch = bench.cache().join(".scratch");
        let sign = if round < 12 { "work" } else { "tree/etcd" };
        let begun = until(Deadline::after(Duration::from_secs(30)), || {
            let mut slots = std::fs::read_dir(&scratch).into_iter().flatten().flatten();
            let begun = slots.any(|slot| slot.path().join(sign).exists());
            let ended = child.try_wait().unwrap().is_some();
            Ok::<_, ()>((begun || ended).then_some(()))
        });
        assert!(begun.unwrap().is_some(), "round {round}: it does not begin");
        let pause = Duration::from_micros(if round < 12 { 2_000 * round } else { 300 * (round - 12) });
        let _ = until(Deadline::after(pause), || Ok::<Option<()>, ()>(None));
        child.kill().unwrap();
        child.wait().unwrap();
        at_work += std::fs::read_dir(&scratch).map_or(0, Iterator::count);
        let binary = bench.install_from(&mirror, sum).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(crate::version_of(&binary.path, &bench.env()).unwrap().to_string(), VERSION);
        assert_eq!(std::fs::read_dir(&scratch).map_or(0, Iterator::count), 0, "round {round}");
    }
    assert!(at_work > 0, "none was killed at work");
}

#[test]
fn ten_processes_at_once_download_once() {
    let (bench, archive) = (Bench::new(), fakes::release(VERSION));
    let sum = Sha256::of_bytes(&archive);
    let mirror = Mirror::always(Answer::Slowly(archive, 64));
    let children: Vec<_> = (0..10).map(|_| start(&bench, &mirror, sum, &[]).spawn().unwrap()).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(mirror.requests(), 1);
}

/// A limit on the size of files stands in for a full disk: the write fails in the same place.
#[test]
fn without_room_the_error_names_the_file_and_nothing_is_left() {
    let top = fakes::release_top(VERSION);
    let files = [("etcd", "etcd".repeat(1_000_000)), ("etcdctl", "ctl".to_owned())];
    let archive = fakes::packed(&top, &files);
    let (bench, sum) = (Bench::new(), Sha256::of_bytes(&archive));
    let mirror = Mirror::always(Answer::Content(archive));
    let limited = ["/bin/sh", "-c", r#"trap "" XFSZ; ulimit -f 1000; exec "$@""#, "sh"];
    let output = start(&bench, &mirror, sum, &limited).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("cannot write `") && said.contains("tree/etcd`: File too large"), "{said}");
    assert!(bench.is_clean());
}
