//! Orphans: processes of a run that go on without their runner. They have the run's id in their environment. Those of a runner
//! that was killed or interrupted are ended, so that they do not write while the run is swept; others are told. Linux only;
//! elsewhere this does nothing.

#[cfg(target_os = "linux")]
use std::{
    collections::BTreeSet,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(target_os = "linux")]
use etcd_keys::text::Escaped;
#[cfg(target_os = "linux")]
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal},
};
#[cfg(target_os = "linux")]
use tokio::time::Instant;

/// How long orphans may take to end after SIGTERM, and again after SIGKILL.
#[cfg(target_os = "linux")]
const GRACE: Duration = Duration::from_secs(5);
/// The interval between two searches.
#[cfg(target_os = "linux")]
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long to wait for processes that show no environment. A process that is just starting its program shows none for a
/// moment. A process without any environment never shows one.
#[cfg(target_os = "linux")]
const EXEC_TIMEOUT: Duration = Duration::from_secs(1);

/// How long processes may take to end with their runner.
#[cfg(target_os = "linux")]
const MOMENT: Duration = Duration::from_millis(200);

/// The processes of a run that go on after their runner's command, such as "`sleep` (12)" with the pid.
#[cfg(target_os = "linux")]
pub(crate) async fn left(run: &str) -> Vec<String> {
    let began = Instant::now();
    loop {
        let Seen { left, .. } = look(run);
        if left.is_empty() || began.elapsed() > MOMENT {
            return left.iter().map(|(pid, _)| named(pid.as_raw_nonzero())).collect();
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(target_os = "linux")]
fn named(pid: std::num::NonZeroI32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("`{}` ({pid})", Escaped(name.trim_ascii_end()))
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn left(_: &str) -> Vec<String> {
    Vec::new()
}

/// Ends all processes of a run, also those that they start meanwhile.
#[cfg(target_os = "linux")]
pub(crate) async fn end(run: &str) {
    let began = Instant::now();
    let mut terminated = BTreeSet::new();
    while began.elapsed() < GRACE * 2 {
        let Seen { left, unclear } = look(run);
        if left.is_empty() && (!unclear || began.elapsed() > EXEC_TIMEOUT) {
            return;
        }
        for (pid, process) in left {
            // It may have ended by now.
            let _ = match began.elapsed() > GRACE {
                true => signal(run, pid, process, Signal::KILL),
                // Send SIGTERM only once: for many programs a second one means to end at once.
                false if terminated.insert(pid.as_raw_nonzero()) => signal(run, pid, process, Signal::TERM),
                false => Ok(()),
            };
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn end(_: &str) {}

/// The result of one search.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Seen {
    /// The run's processes, with their pidfds; `None` if the system has no pidfds or refuses them.
    left: Vec<(Pid, Option<OwnedFd>)>,
    /// Whether a process showed no environment.
    unclear: bool,
}

/// Finds processes of our session that have the run's id in their environment. A process of another session is a daemon,
/// like a terminal multiplexer or a compiler cache, and is left alone. So are keepers: a run inside this one has its own
/// keeper, which must sweep that run.
#[cfg(target_os = "linux")]
fn look(run: &str) -> Seen {
    let variable = format!("ETCD_TEST_RUN={run}");
    let session = session_of(Path::new("/proc/self"));
    let mut seen = Seen::default();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    for pid in pids.filter(|pid| *pid != getpid()) {
        // Opened before the checks, so that the signal goes to the process that was checked.
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Some(process),
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => None,
            Err(_) => continue,
        };
        let dir = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let Ok(environment) = fs::read(dir.join("environ")) else { continue };
        if session_of(&dir) != session || is_keeper(&dir) {
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

/// Without a pidfd the process is checked again right before, because its pid may have been reused.
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

/// The session of a live process; `None` for a zombie. From `stat`, where state, parent, group and session follow the name
/// in parentheses. Session 0 is of another container; rustix's `getsid` cannot represent it.
#[cfg(target_os = "linux")]
fn session_of(dir: &Path) -> Option<u32> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X");
    fields.nth(2)?.parse().ok().filter(|_| lives)
}

/// Only keepers have this argument.
#[cfg(target_os = "linux")]
fn is_keeper(dir: &Path) -> bool {
    let words = fs::read(dir.join("cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == b"--lock-dir")
}
