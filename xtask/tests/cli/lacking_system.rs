//! A system that refuses calls that we rely on, as old kernels, old container runtimes and network file systems do. The
//! commands go on without the call where that is safe, else they name what is missing. A seccomp filter refuses the call.

use std::collections::BTreeMap;

use etcd_local::State;
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::playground::{Playground, TRUE, build_console, eventually, get, put};

/// Runs `work` on a thread to which, and to whose children, the system refuses a call; `None`: this machine has no
/// seccomp filters.
fn refusing<T: Send>(call: libc::c_long, with: Errno, work: impl FnOnce() -> T + Send) -> Option<T> {
    let architecture: TargetArch = std::env::consts::ARCH.try_into().ok()?;
    let action = SeccompAction::Errno(with.raw_os_error().cast_unsigned());
    let rules = BTreeMap::from([(call, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| match seccompiler::apply_filter(&filter) {
            Ok(()) => Some(work()),
            Err(error) => {
                eprintln!("skipped: no seccomp filter can be had here: {error}");
                None
            }
        });
        refused.join().unwrap()
    })
}

#[test]
fn without_pidfds_servers_are_started_found_and_stopped_and_runs_are_swept() {
    build_console();
    for errno in [Errno::PERM, Errno::NOSYS] {
        let play = Playground::new();
        refusing(libc::SYS_pidfd_open, errno, || {
            let up = play.up(&[]);
            put(&up, "dg==");
            assert_eq!(play.status(), up);
            let doctor = play.xtask(&["doctor"]).ok();
            assert!(doctor.stdout.contains("warning  system: there are no pidfds"), "{doctor:#?}");
            play.xtask(&["run", "--", "true"]).ok();
            play.xtask(&["run", "--ephemeral", "--", "true"]).ok();
            play.xtask(&["etcd-down"]).ok();
            assert!(eventually(|| play.processes().is_empty()), "{:#?}", play.processes());
            assert_eq!(get(&play.up(&[])).as_deref(), Some("dg=="));
            play.xtask(&["etcd-reset", "--yes"]).ok();
            assert_eq!(get(&play.status()), None);
        });
    }
}

#[test]
fn without_pidfds_what_a_killed_runner_leaves_running_is_ended() {
    build_console();
    refusing(libc::SYS_pidfd_open, Errno::PERM, crate::runs::killed::leftovers_of_a_killed_runner_are_ended);
}

#[test]
fn a_file_system_without_locks_is_named_and_so_is_the_way_out() {
    for errno in [Errno::NOLCK, Errno::OPNOTSUPP] {
        // Cargo builds nothing without locks, and it does not come to a keeper.
        let play = Playground::new().with("ETCD_CONSOLE", TRUE);
        refusing(libc::SYS_flock, errno, || {
            let words = &["has no file locks", "hint: set ETCD_LOCAL_STATE to a directory"];
            play.xtask(&["etcd-up"]).fails(1, words);
            let doctor = play.xtask(&["doctor"]);
            assert_eq!(doctor.code, Some(1), "{doctor:#?}");
            assert!(
                doctor.stdout.contains("FAILURE  locks: `.etcd`: this file system has no file locks"),
                "{doctor:#?}"
            );
            play.xtask(&["run", "--ephemeral", "true"]).fails(1, &["has no file locks", "hint: TMPDIR"]);
        });
        assert_eq!(play.status().state, State::Stopped);
    }
}
