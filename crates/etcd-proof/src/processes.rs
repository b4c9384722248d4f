//! The processes that belong to a directory of ours: those that work in it, or have it in their environment or their
//! arguments. No other process is ever signalled. Only Linux shows them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A live process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) exe: PathBuf,
    /// Its arguments, with spaces between.
    pub(crate) line: String,
}

/// All processes of a directory except this one. A process that has ended and is not reaped yet does not count.
pub(crate) fn of(dir: &Path) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| belongs(pid, dir)).collect()
}

/// The pids of the directory's processes that run this program.
#[cfg(target_os = "linux")]
pub(crate) fn running(dir: &Path, program: &Path) -> Vec<u32> {
    of(dir).into_iter().filter(|process| process.exe == program).map(|process| process.pid).collect()
}

/// Sends a signal to the directory's processes that run this program.
///
/// # Errors
/// There is no such process.
#[cfg(target_os = "linux")]
pub(crate) fn signal_running(dir: &Path, program: &Path, signal: Signal) -> anyhow::Result<()> {
    let pids = running(dir, program);
    anyhow::ensure!(!pids.is_empty(), "`{}` does not run", program.display());
    pids.into_iter().try_for_each(|pid| Ok(self::signal(pid, dir, signal)?))
}

fn belongs(pid: u32, dir: &Path) -> Option<Process> {
    let mark = dir.as_os_str().as_encoded_bytes();
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let line = read("cmdline");
    let is_marked = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let works_there = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    if !is_marked(&line) && !is_marked(&read("environ")) && !works_there() {
        return None;
    }
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // The command's name, in parentheses, may have any character.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Process { pid, parent, exe, line: String::from_utf8_lossy(&line).replace('\0', " ") })
}

/// Kills a process, if it still belongs to `dir`.
#[cfg(target_os = "linux")]
pub(crate) fn kill(pid: u32, dir: &Path) -> io::Result<()> {
    signal(pid, dir, Signal::KILL)
}

/// Elsewhere no process is ever found.
#[cfg(not(target_os = "linux"))]
pub(crate) fn kill(_: u32, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Sends a signal, if the process still belongs to `dir`, which is checked with its pidfd open.
#[cfg(target_os = "linux")]
pub(crate) fn signal(pid: u32, dir: &Path, signal: Signal) -> io::Result<()> {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty()) else { return Ok(()) };
    if belongs(pid, dir).is_none() {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::wait;

    #[test]
    fn only_processes_of_the_directory_are_ended() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let start = |dir: &Path, cwd: &Path| {
            let mut script = Command::new("sh");
            script.args(["-c", "read _", "sh"]).arg(dir).current_dir(cwd).stdin(Stdio::piped()).spawn().unwrap()
        };
        let (mut on_ours, mut in_ours) = (start(ours.path(), other.path()), start(Path::new("."), ours.path()));
        let mut on_other = start(other.path(), other.path());
        // Until it has become `sh`, its command line is this test's.
        let shown = |child: &Child| fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
        wait::until("it started", wait::TIMEOUT, || Ok(shown(&on_ours).contains("read _"))).unwrap();
        let found: Vec<u32> = of(ours.path()).iter().map(|process| process.pid).collect();
        assert_eq!(found.len(), 2);
        found.iter().for_each(|pid| kill(*pid, ours.path()).unwrap());
        assert!(!on_ours.wait().unwrap().success() && !in_ours.wait().unwrap().success());
        assert!(of(ours.path()).is_empty());
        kill(on_other.id(), ours.path()).unwrap();
        assert_eq!(on_other.try_wait().unwrap(), None);
        on_other.kill().unwrap();
        on_other.wait().unwrap();
    }
}
