//! What a runner that was killed leaves running, or a command that was interrupted: processes with the run's id in
//! their environment. They are ended, so that nothing goes on without anybody, and writes under the hands of the sweep.
//! On Linux; elsewhere nothing is done.

#[cfg(target_os = "linux")]
use std::{
    collections::BTreeSet,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(target_os = "linux")]
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
#[cfg(target_os = "linux")]
use tokio::time::Instant;

/// How long they have to end by themselves; and then, once more, to be gone.
#[cfg(target_os = "linux")]
const GRACE: Duration = Duration::from_secs(5);
/// How often they are looked for.
#[cfg(target_os = "linux")]
const PACE: Duration = Duration::from_millis(20);

/// How often in a row nobody has to be found: a process that just begins its program shows no environment.
#[cfg(target_os = "linux")]
const LOOKS: u32 = 3;

/// Ends all processes of a run, those that they start meanwhile included.
#[cfg(target_os = "linux")]
pub(crate) async fn end(run: &str) {
    let began = Instant::now();
    let (mut told, mut in_vain) = (BTreeSet::new(), 0);
    while in_vain < LOOKS && began.elapsed() < GRACE * 2 {
        let left = of_run(run);
        in_vain = if left.is_empty() { in_vain + 1 } else { 0 };
        for (pid, process) in left {
            // It may have ended by now.
            let _ = match began.elapsed() > GRACE {
                true => pidfd_send_signal(process, Signal::KILL),
                // Once: many take the second one for impatience.
                false if told.insert(pid.as_raw_nonzero()) => pidfd_send_signal(process, Signal::TERM),
                false => Ok(()),
            };
        }
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn end(_: &str) {}

/// Processes that have the run's id in their environment and are of our session, by what names them alone. Another
/// session's is a daemon that outlives whoever started it: a terminal multiplexer, or a compiler's cache. Keepers are
/// none of them either: a run inside this one has its own, and that has to sweep.
#[cfg(target_os = "linux")]
fn of_run(run: &str) -> Vec<(Pid, OwnedFd)> {
    let variable = format!("ETCD_TEST_RUN={run}");
    let session = session(Path::new("/proc/self"));
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| *pid != getpid())
        .filter_map(|pid| {
            // Before it is looked at: what is signalled is what was there then.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            let dir = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
            let environment = fs::read(dir.join("environ")).ok()?;
            let is_of_run = environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes());
            let is_one = is_of_run && self::session(&dir) == session && !is_keeper(&dir);
            is_one.then_some((pid, process))
        })
        .collect()
}

/// From `stat`, behind the name in parentheses: state, parent, group, session. 0 is one of another container's, which
/// `getsid` of rustix cannot hold.
#[cfg(target_os = "linux")]
fn session(dir: &Path) -> Option<u32> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Only keepers are told where their run's lock is.
#[cfg(target_os = "linux")]
fn is_keeper(dir: &Path) -> bool {
    let words = fs::read(dir.join("cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == b"--lock-dir")
}
