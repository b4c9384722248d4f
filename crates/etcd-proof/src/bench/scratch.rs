//! Where a bench has everything that it makes, and the guardian that clears it away: a process that outlives this one
//! for a moment, also when it was killed, and ends what still runs on anything in there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::patience;

/// A directory for everything, gone at the end.
pub(super) struct Scratch {
    dir: PathBuf,
    guardian: Child,
    next: AtomicU32,
}

impl Scratch {
    pub(super) fn open(xtask: &Path) -> Result<Self> {
        // A name that no other process has in its command line by chance.
        let dir = tempfile::Builder::new().prefix("etcd-bench-").rand_bytes(20).tempdir()?;
        let mut guardian = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        guardian.arg("--xtask").arg(xtask).arg("guard").arg(dir.path());
        guardian.stdin(Stdio::piped()).stdout(Stdio::null());
        out_of_reach(&mut guardian);
        let guardian = guardian.spawn().context("cannot start the guardian")?;
        Ok(Self { dir: dir.keep(), guardian, next: AtomicU32::new(0) })
    }

    /// A new directory in it.
    pub(super) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its cue. What it has to end ends at once, so it is not long in coming.
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// The guardian: waits until the bench is gone, ends what it left, and removes its directory.
pub(crate) fn guard(dir: &Path) -> Result<()> {
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    patience::until("what a bench left was not cleared away", || {
        // What was under way may start another: only when nobody is left is the directory nobody's.
        let is_nobodys = end_all_on(dir) == 0;
        Ok((is_nobodys && std::fs::remove_dir_all(dir).is_ok()).then_some(()))
    })
}

/// Kills every process that works in the directory, or has it in its command line; how many that were. A pidfd is opened
/// first, and the rest read while it is open: the process that is killed is the one that was looked at.
#[cfg(target_os = "linux")]
fn end_all_on(dir: &Path) -> usize {
    use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

    let mark = dir.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw);
    let end = |pid: Pid| {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
        let works_in = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
        if works_in || line.windows(mark.len()).any(|part| part == mark) {
            pidfd_send_signal(&process, Signal::KILL).ok()?;
            return Some(());
        }
        None
    };
    pids.filter(|pid| *pid != getpid()).filter_map(end).count()
}

/// Elsewhere a bench that was killed may leave servers.
#[cfg(not(target_os = "linux"))]
fn end_all_on(_: &Path) -> usize {
    0
}

/// Ctrl-C in a terminal is not for the guardian.
#[cfg(unix)]
fn out_of_reach(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    command.process_group(0);
}

#[cfg(windows)]
fn out_of_reach(command: &mut Command) {
    use std::os::windows::process::CommandExt as _;

    /// `CREATE_NEW_PROCESS_GROUP` of winbase.h.
    const NEW_GROUP: u32 = 0x200;
    command.creation_flags(NEW_GROUP);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_runs_on_the_directory_is_ended_and_nothing_else() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let start = |dir: &Path, cwd: &Path| {
            let mut script = Command::new("sh");
            script.args(["-c", "read _", "sh"]).arg(dir).current_dir(cwd).stdin(Stdio::piped()).spawn().unwrap()
        };
        let (mut on_ours, mut in_ours) = (start(ours.path(), other.path()), start(Path::new("."), ours.path()));
        let mut on_other = start(other.path(), other.path());
        // Until it has become `sh`, its command line is this test's.
        patience::until("it did not start", || {
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", on_ours.id()))?;
            Ok(line.contains("read _").then_some(()))
        })
        .unwrap();
        assert_eq!(end_all_on(ours.path()), 2);
        assert!(!on_ours.wait().unwrap().success() && !in_ours.wait().unwrap().success());
        assert_eq!(end_all_on(ours.path()), 0);
        assert_eq!(on_other.try_wait().unwrap(), None);
        on_other.kill().unwrap();
        on_other.wait().unwrap();
    }
}
