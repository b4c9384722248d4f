//! What Linux and macOS share.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::os::Lifetime;

/// A process group. A shell leads it, which reads from a pipe of ours: the pipe closes when our process ends, and then
/// the shell kills the group that it is in itself. So no signal can reach a group that got the same number later.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Child,
}

impl ProcessGroup {
    const SCRIPT: &str = "trap '' HUP INT TERM; read -r line; kill -KILL 0";

    /// # Errors
    /// If the shell cannot be started.
    pub fn new() -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", Self::SCRIPT, "etcd-local-group"]).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        hand_over_stdio_only(&mut command)?;
        Ok(Self { leader: command.spawn()? })
    }

    /// Makes the child a member.
    pub fn prepare(&self, command: &mut Command) {
        command.process_group(Pid::from_child(&self.leader).as_raw_pid());
    }

    /// They were started as its members.
    #[expect(clippy::unnecessary_wraps, reason = "Windows can fail here")]
    pub(crate) fn add(&self, _: &[u32]) -> io::Result<()> {
        Ok(())
    }

    /// The leader ignores what a terminal or a CI system sends.
    pub fn signal(&self, signal: Signal) {
        // The leader is not reaped before the group is dropped, so its number is still the group's.
        let _ = kill_process_group(Pid::from_child(&self.leader), signal);
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }
}

impl Drop for ProcessGroup {
    /// What a helper that has ended left running goes on.
    fn drop(&mut self) {
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

pub(crate) fn host_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

pub(crate) type Server = Child;

pub(crate) fn spawn_server(mut command: Command, lock: File, log: File, lifetime: Lifetime) -> io::Result<Server> {
    command.stdin(lock).stdout(log.try_clone()?).stderr(log);
    detach(&mut command);
    hand_over_stdio_only(&mut command)?;
    if lifetime == Lifetime::Ours {
        super::tie_to_owner(&mut command);
    }
    command.spawn()
}

pub(crate) fn detach(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid is one, and the
    // error is made of a number, without allocating.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(io::Error::from));
    }
}

/// Files that this process opens are close-on-exec. Files that our parent process left open, such as a lock or the end of a
/// pipe, are not: they would stay open as long as the child lives. `/dev/fd` exists on every supported Unix and kernel, unlike
/// `close_range`. If it is missing, these files cannot be found.
pub(crate) fn hand_over_stdio_only(command: &mut Command) -> io::Result<()> {
    let inherited: Vec<RawFd> = match std::fs::read_dir("/dev/fd") {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; fcntl is one, and nothing is allocated. A
    // number that is closed by now is refused, and the flag changes nothing but what the program to come gets.
    unsafe {
        command.pre_exec(move || {
            for fd in inherited.iter().filter(|fd| **fd > 2) {
                let _ = rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(*fd), FdFlags::CLOEXEC);
            }
            Ok(())
        });
    }
    Ok(())
}

pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
