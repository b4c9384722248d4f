//! Linux: pidfds, `/proc`, parent-death signals. Where the system has no pidfds (before 5.3), or refuses them (the seccomp
//! filters of old container runtimes), a process is told by its pid and when it began, as on macOS.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

pub use super::unix::ProcessGroup;
pub(crate) use super::unix::{
    Server, create_private_dir, free_space, hand_over_stdio_only, host_name, spawn_server, sync_dir,
};
use crate::wait::{Deadline, until};
use etcd_workspace::Identity;

#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Pidfd(OwnedFd),
    /// When it began.
    Since(u64),
}

/// Whether the system has pidfds for us.
pub(crate) fn has_pidfds() -> io::Result<()> {
    Ok(pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map(drop)?)
}

impl Process {
    /// `None`: there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pid, handle: Handle::Pidfd(pidfd) })),
            // INVAL: the number is a thread's, not a process's.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
                Ok(started(pid).map(|since| Self { pid, handle: Handle::Since(since) }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who this is; `None` once it has ended. Read through `/proc` first and only then checked against the
    /// pidfd: while that is alive, the pid meant the same process all along.
    pub(crate) fn identity(&self) -> io::Result<Option<Identity>> {
        let started = started(self.pid);
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid));
        if self.ended_within(Duration::ZERO)? {
            return Ok(None);
        }
        let Some(started) = started else { return Ok(None) };
        let exe = match exe {
            Ok(exe) => without_deleted_mark(exe),
            // Another user's process: it exists, and is not ours.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => PathBuf::new(),
            Err(_) => return Ok(None),
        };
        Ok(Some(Identity { pid: self.pid, started, boot: boot_id(), exe }))
    }

    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Waits for the end at most this long. A zombie has ended.
    pub(crate) fn ended_within(&self, timeout: Duration) -> io::Result<bool> {
        let deadline = Deadline::after(timeout);
        let pidfd = match &self.handle {
            Handle::Pidfd(pidfd) => pidfd,
            Handle::Since(since) => {
                return Ok(until(deadline, || Ok::<_, io::Error>((started(self.pid) != Some(*since)).then_some(())))?
                    .is_some());
            }
        };
        loop {
            let left = deadline.remaining();
            let timeout =
                Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {} // a signal of ours says nothing of the process
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match (&self.handle, Pid::from_raw(self.pid.cast_signed())) {
            (Handle::Pidfd(pidfd), _) => pidfd_send_signal(pidfd, signal),
            (Handle::Since(_), Some(pid)) if !self.ended_within(Duration::ZERO)? => kill_process(pid, signal),
            (Handle::Since(_), _) => return Ok(()),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// When a process began; `None` for a pid without a process and for zombies.
fn started(pid: u32) -> Option<u64> {
    start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/<pid>/stat`, proc(5): clock ticks after boot. The command's name, field 2, may
/// contain anything, parentheses and spaces too, so counting begins after the last one.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The kernel marks a program whose file was replaced while it runs.
fn without_deleted_mark(exe: PathBuf) -> PathBuf {
    match exe.to_str().and_then(|exe| exe.strip_suffix(" (deleted)")) {
        Some(exe) => PathBuf::from(exe),
        None => exe,
    }
}

pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

pub(crate) fn tie_to_owner(command: &mut Command) {
    let owner = rustix::process::getpid();
    // SAFETY: prctl and getppid are async-signal-safe, and the errors are made of numbers. The owner may
    // have died before prctl took effect, hence the look at our parent.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() == Some(owner) { Ok(()) } else { Err(Errno::SRCH.into()) }
        });
    }
}

pub(crate) fn holders(path: &Path) -> Option<Vec<u32>> {
    let Ok(lock) = fs::metadata(path) else { return Some(Vec::new()) };
    let same = |pid: &u32| {
        fs::metadata(format!("/proc/{pid}/fd/0"))
            .is_ok_and(|stdin| stdin.dev() == lock.dev() && stdin.ino() == lock.ino())
    };
    Some(pids()?.into_iter().filter(same).collect())
}

pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let args = line.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    args.map(|arg| String::from_utf8(arg.to_vec()).ok()).collect()
}

fn pids() -> Option<Vec<u32>> {
    let entries = fs::read_dir("/proc").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

pub(crate) fn listener(addr: SocketAddr) -> Option<u32> {
    let tables = [fs::read_to_string("/proc/net/tcp"), fs::read_to_string("/proc/net/tcp6")];
    let inode = tables.iter().flatten().flat_map(|table| table.lines().skip(1)).find_map(|row| listening(row, addr))?;
    let link = PathBuf::from(format!("socket:[{inode}]"));
    pids()?.into_iter().find(|pid| {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .is_ok_and(|fds| fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == link)))
    })
}

/// The inode of a row of `/proc/net/tcp*` that listens (state 0A) where `addr` would collide with it.
fn listening(row: &str, addr: SocketAddr) -> Option<&str> {
    let mut fields = row.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let ip = hex_ip(ip)?;
    let collides = ip == addr.ip() || ip.is_unspecified() || addr.ip().is_unspecified();
    if state != "0A" || u16::from_str_radix(port, 16).ok()? != addr.port() || !collides {
        return None;
    }
    fields.nth(5)
}

/// The kernel prints addresses as 32-bit words of the machine's own byte order.
fn hex_ip(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ticks_survive_a_hostile_command_name() {
        let stat = "42 (a) b) S (x) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 777 1 1";
        assert_eq!(start_ticks(stat), Some(777));
        assert_eq!(start_ticks("42 (etcd) Z 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 777 1 1"), None);
        assert_eq!(start_ticks("garbage"), None);
    }

    #[test]
    fn a_listener_is_found_and_gone_again() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        assert_eq!(listener(addr), Some(std::process::id()));
        drop(socket);
        assert_eq!(listener(addr), None);
    }

    #[test]
    fn addresses_of_the_kernel_tables_are_read() {
        assert_eq!(hex_ip("0100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(hex_ip("00000000000000000000000001000000"), Some("::1".parse().unwrap()));
        assert_eq!(hex_ip("0000000000000000FFFF00000100007F"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(hex_ip("xyz"), None);
    }

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        let identity = process.identity().unwrap().unwrap();
        assert_eq!(identity.pid, child.id());
        assert!(!process.ended_within(Duration::ZERO).unwrap());
        process.kill().unwrap();
        assert!(process.ended_within(Duration::from_secs(10)).unwrap());
        assert!(process.ended_within(Duration::MAX).unwrap());
        assert_eq!(process.identity().unwrap(), None, "a zombie does not count");
        child.wait().unwrap();
        assert!(Process::open(u32::MAX).unwrap().is_none());
    }
}
