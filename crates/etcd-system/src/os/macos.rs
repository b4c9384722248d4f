//! macOS: libproc for identities, `lsof` for who holds what. There is no pidfd: a pid is signalled right
//! after its start time was checked.

use std::ffi::{CStr, OsStr};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

pub use super::unix::ProcessGroup;
pub(crate) use super::unix::{
    Server, create_private_dir, free_space, hand_over_stdio_only, host_name, spawn_server, sync_dir,
};
use crate::wait::{Deadline, until};
use etcd_workspace::Identity;

#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    started: u64,
}

impl Process {
    /// `None`: there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Ok(pid) = i32::try_from(pid) else { return Ok(None) };
        Ok(start_micros(pid).map(|started| Self { pid, started }))
    }

    /// Who this is; `None` once it has ended.
    pub(crate) fn identity(&self) -> io::Result<Option<Identity>> {
        let exe = executable(self.pid).unwrap_or_default();
        if self.ended() {
            return Ok(None);
        }
        Ok(Some(Identity { pid: self.pid.unsigned_abs(), started: self.started, boot: boot_id(), exe }))
    }

    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Waits for the end at most this long. A zombie has ended.
    pub(crate) fn ended_within(&self, timeout: Duration) -> io::Result<bool> {
        until(Deadline::after(timeout), || Ok(self.ended().then_some(()))).map(|ended| ended.is_some())
    }

    fn ended(&self) -> bool {
        start_micros(self.pid) != Some(self.started)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| !self.ended()) else { return Ok(()) };
        match kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Microseconds after the epoch at which the process began; `None` for a pid without a process and for zombies.
fn start_micros(pid: i32) -> Option<u64> {
    let mut info = std::mem::MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = i32::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: the buffer is as large as we say, and plain integers, for which zeros are valid.
    let (written, info) = unsafe {
        let written = libc::proc_pidinfo(pid, libc::PROC_PIDTBSDINFO, 0, info.as_mut_ptr().cast(), size);
        (written, info.assume_init())
    };
    let alive = written == size && info.pbi_status != libc::SZOMB;
    alive.then(|| info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec))
}

fn executable(pid: i32) -> Option<PathBuf> {
    let mut buffer = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    // SAFETY: the buffer is as long as we say; the call ends what it writes with a NUL.
    let written = unsafe { libc::proc_pidpath(pid, buffer.as_mut_ptr().cast(), buffer.len().try_into().ok()?) };
    if written <= 0 {
        return None;
    }
    let path = CStr::from_bytes_until_nul(&buffer).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// What stands for them here is always there.
#[expect(clippy::unnecessary_wraps, reason = "Linux can lack them")]
pub(crate) fn has_pidfds() -> io::Result<()> {
    Ok(())
}

/// Start times are absolute here, so a reboot cannot make two alike.
pub(crate) fn boot_id() -> String {
    String::new()
}

/// macOS has no parent-death signal; the janitor of an ephemeral instance does this job.
pub(crate) fn tie_to_owner(_: &mut Command) {}

/// Only standard input counts (`-d 0`, and with `-a` both must hold): others who look have the file open, too.
pub(crate) fn holders(path: &Path) -> Option<Vec<u32>> {
    let me = std::process::id();
    let pids = lsof(&["-a".as_ref(), "-d".as_ref(), "0".as_ref(), "-t".as_ref(), "--".as_ref(), path.as_os_str()])?;
    Some(pids.into_iter().filter(|pid| *pid != me).collect())
}

pub(crate) fn arguments(_: u32) -> Option<Vec<String>> {
    None
}

pub(crate) fn listener(addr: SocketAddr) -> Option<u32> {
    let port = format!("-iTCP:{}", addr.port());
    lsof(&["-nP".as_ref(), "-sTCP:LISTEN".as_ref(), "-t".as_ref(), port.as_ref()])?.first().copied()
}

/// It ships with macOS, and PATH may lead elsewhere.
const LSOF: &str = "/usr/sbin/lsof";

/// `lsof` exits with 1 when nothing matches. On a file system that does not answer it hangs, and is killed.
fn lsof(args: &[&OsStr]) -> Option<Vec<u32>> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let lsof = duct::cmd(LSOF, args).unchecked().stdin_null().stdout_capture().stderr_null().start().ok()?;
    let Ok(Some(output)) = until(Deadline::after(TIMEOUT), || lsof.try_wait()) else {
        let _ = lsof.kill();
        return None;
    };
    String::from_utf8_lossy(&output.stdout).lines().map(|pid| pid.trim().parse().ok()).collect()
}
