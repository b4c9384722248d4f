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
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal},
};
#[cfg(target_os = "linux")]
use tokio::time::Instant;

/// How long they have to end by themselves; and then, once more, to be gone.
#[cfg(target_os = "linux")]
const GRACE: Duration = Duration::from_secs(5);
/// How often they are looked for.
#[cfg(target_os = "linux")]
const PACE: Duration = Duration::from_millis(20);

/// How long a process may show no environment: one that is about to begin its program does so, for longer on a busy
/// machine; one that was given none does so for ever.
#[cfg(target_os = "linux")]
const BEGINNING: Duration = Duration::from_secs(1);

/// Ends all processes of a run, those that they start meanwhile included.
#[cfg(target_os = "linux")]
pub(crate) async fn end(run: &str) {
    let began = Instant::now();
    let mut told = BTreeSet::new();
    while began.elapsed() < GRACE * 2 {
        let Seen { left, unclear } = look(run);
        if left.is_empty() && (!unclear || began.elapsed() > BEGINNING) {
            return;
        }
        for (pid, process) in left {
            // It may have ended by now.
            let _ = match began.elapsed() > GRACE {
                true => signal(run, pid, process, Signal::KILL),
                // Once: many take the second one for impatience.
                false if told.insert(pid.as_raw_nonzero()) => signal(run, pid, process, Signal::TERM),
                false => Ok(()),
            };
        }
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn end(_: &str) {}

/// What one look at all processes shows.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Seen {
    /// Those of the run, by what names them alone; `None`: the system has no pidfds, or refuses them.
    left: Vec<(Pid, Option<OwnedFd>)>,
    /// Whether there is one that cannot be told.
    unclear: bool,
}

/// Looks for processes that have the run's id in their environment and are of our session. Another session's is a daemon
/// that outlives whoever started it: a terminal multiplexer, or a compiler's cache. Keepers are none of them either: a
/// run inside this one has its own, and that has to sweep.
#[cfg(target_os = "linux")]
fn look(run: &str) -> Seen {
    let variable = format!("ETCD_TEST_RUN={run}");
    let session = living_in(Path::new("/proc/self"));
    let mut seen = Seen::default();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    for pid in pids.filter(|pid| *pid != getpid()) {
        // Before it is looked at: what is signalled is what was there then.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Some(process),
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => None,
            Err(_) => continue,
        };
        let dir = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let Ok(environment) = fs::read(dir.join("environ")) else { continue };
        if living_in(&dir) != session || is_keeper(&dir) {
            continue;
        }
        seen.unclear |= environment.is_empty();
        if has(&environment, &variable) {
            seen.left.push((pid, process));
        }
    }
    seen
}

#[cfg(target_os = "linux")]
fn has(environment: &[u8], variable: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
}

/// Without a pidfd the process is looked at once more, right before: its pid may have come to mean another.
#[cfg(target_os = "linux")]
fn signal(run: &str, pid: Pid, process: Option<OwnedFd>, signal: Signal) -> Result<(), Errno> {
    if let Some(process) = process {
        return pidfd_send_signal(process, signal);
    }
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    match has(&environment, &format!("ETCD_TEST_RUN={run}")) {
        true => kill_process(pid, signal),
        false => Ok(()),
    }
}

/// The session that a process lives in, from `stat`, behind the name in parentheses: state, parent, group, session. 0 is
/// one of another container's, which `getsid` of rustix cannot hold. A zombie lives in none.
#[cfg(target_os = "linux")]
fn living_in(dir: &Path) -> Option<u32> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X");
    fields.nth(2)?.parse().ok().filter(|_| lives)
}

/// Only keepers are told where their run's lock is.
#[cfg(target_os = "linux")]
fn is_keeper(dir: &Path) -> bool {
    let words = fs::read(dir.join("cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == b"--lock-dir")
}
