//! Windows: process handles, sharing modes, the tables of listeners. Starting processes and tying them to us
//! is in the submodules.

#[path = "windows/job.rs"]
mod job;
#[path = "windows/server.rs"]
mod server;

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_PARAMETER, FILETIME, NO_ERROR, WAIT_OBJECT_0,
    WAIT_TIMEOUT,
};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE,
    QueryFullProcessImageNameW, TerminateProcess, WaitForSingleObject,
};

use etcd_workspace::Identity;

pub use self::job::ProcessGroup;
pub(crate) use self::server::{Server, spawn_server};

/// An open handle keeps the pid from being given to another process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    handle: OwnedHandle,
}

impl Process {
    /// `None`: there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        // Looking must be enough where ending is denied, so that a port's holder has a name.
        const LOOK: u32 = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        let denied = |error: &io::Error| raw(error) == Some(ERROR_ACCESS_DENIED);
        let handle = match open(pid, LOOK | PROCESS_TERMINATE) {
            Err(error) if denied(&error) => open(pid, LOOK),
            result => result,
        };
        match handle {
            Ok(handle) => Ok(Some(Self { pid, handle })),
            // Denied once more: it is another user's, hence not ours.
            Err(error) if denied(&error) || raw(&error) == Some(ERROR_INVALID_PARAMETER) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who this is; `None` once it has ended.
    pub(crate) fn identity(&self) -> io::Result<Option<Identity>> {
        if self.ended_within(Duration::ZERO)? {
            return Ok(None);
        }
        let mut times = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
        let [created, exited, kernel, user] = &mut times;
        // SAFETY: the handle is open and the four places are ours.
        if unsafe { GetProcessTimes(self.handle.as_raw_handle(), created, exited, kernel, user) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let started = u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime);
        let mut name = vec![0_u16; 32_768];
        let mut length = 32_767;
        // SAFETY: the buffer is longer than the length we state.
        if unsafe { QueryFullProcessImageNameW(self.handle.as_raw_handle(), 0, name.as_mut_ptr(), &mut length) } == 0 {
            return Err(io::Error::last_os_error());
        }
        name.truncate(length as usize);
        let exe = PathBuf::from(std::ffi::OsString::from_wide(&name));
        Ok(Some(Identity { pid: self.pid, started, boot: boot_id(), exe }))
    }

    /// etcd has no interrupt handler on Windows and its log survives termination: there is one way to end.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.kill()
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        /// A process that is ending already denies access until it is gone.
        const ENDING: Duration = Duration::from_secs(2);
        // SAFETY: a plain call on an open handle.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), 1) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if self.ended_within(ENDING)? { Ok(()) } else { Err(error) }
    }

    /// Waits for the end at most this long.
    pub(crate) fn ended_within(&self, timeout: Duration) -> io::Result<bool> {
        // Rounded up: a timeout of less than a millisecond is not none at all. The largest number is no
        // time but for ever.
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let millis = u32::try_from(millis).unwrap_or(u32::MAX).min(u32::MAX - 1);
        // SAFETY: the handle is open and was opened for this.
        match unsafe { WaitForSingleObject(self.handle.as_raw_handle(), millis) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn open(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: a plain call; null is checked before the handle is owned.
    let raw = unsafe { OpenProcess(rights, 0, pid) };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is open and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

fn raw(error: &io::Error) -> Option<u32> {
    error.raw_os_error().map(i32::cast_unsigned)
}

/// Start times are absolute here, so a reboot cannot make two alike.
pub(crate) fn boot_id() -> String {
    String::new()
}

pub(crate) fn host_name() -> Option<String> {
    None // COMPUTERNAME says it, and the environment is the caller's to read
}

/// What stands for them here is always there.
#[expect(clippy::unnecessary_wraps, reason = "Linux can lack them")]
pub(crate) fn has_pidfds() -> io::Result<()> {
    Ok(())
}

/// Nothing is handed over here that was not marked for it, and std marks its own three.
#[expect(clippy::unnecessary_wraps, reason = "Unix can fail here")]
pub(crate) fn hand_over_stdio_only(_: &mut Command) -> io::Result<()> {
    Ok(())
}

/// A job does this: see [`spawn_server`].
pub(crate) fn tie_to_owner(_: &mut Command) {}

/// Windows does not tell who has a file open; the recorded identity and the listener do.
pub(crate) fn holders(_: &Path) -> Option<Vec<u32>> {
    None
}

pub(crate) fn arguments(_: u32) -> Option<Vec<String>> {
    None
}

/// Windows lets two processes have a port if one of them listens on a wildcard and the other does not; who is
/// more exact gets the clients.
pub(crate) fn listener(addr: SocketAddr) -> Option<u32> {
    let rows: Vec<(SocketAddr, u32)> =
        rows(AF_INET, V4_WORDS, v4_row).chain(rows(AF_INET6, V6_WORDS, v6_row)).collect();
    let exactly = rows.iter().find(|(listening, _)| *listening == addr);
    exactly.or_else(|| rows.iter().find(|(listening, _)| collide(*listening, addr))).map(|(_, pid)| *pid)
}

fn collide(listening: SocketAddr, addr: SocketAddr) -> bool {
    let (ours, theirs) = (addr.ip(), listening.ip());
    // An IPv6 wildcard may serve IPv4 as well, never the other way round.
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    listening.port() == addr.port() && (ours == theirs || covers(theirs, ours) || covers(ours, theirs))
}

/// Rows are words of four bytes; addresses and ports are in the network's byte order inside them.
const V4_WORDS: usize = size_of::<MIB_TCPROW_OWNER_PID>() / 4;
const V6_WORDS: usize = size_of::<MIB_TCP6ROW_OWNER_PID>() / 4;

/// State, local address, local port, remote address, remote port, owning pid.
fn v4_row(row: &[u32]) -> Option<(SocketAddr, u32)> {
    let [_, ip, port, _, _, pid] = row else { return None };
    Some((SocketAddr::new(Ipv4Addr::from(ip.to_ne_bytes()).into(), network_port(*port)), *pid))
}

/// Local address in four words, its scope, local port, the same of the remote side, state, owning pid.
fn v6_row(row: &[u32]) -> Option<(SocketAddr, u32)> {
    let [a, b, c, d, _, port, _, _, _, _, _, _, _, pid] = row else { return None };
    let words = [a, b, c, d].map(|word| u128::from(u32::from_be_bytes(word.to_ne_bytes())));
    let ip = Ipv6Addr::from(words.iter().fold(0, |ip, word| ip << 32 | word));
    Some((SocketAddr::new(ip.to_canonical(), network_port(*port)), *pid))
}

fn network_port(word: u32) -> u16 {
    let [high, low, ..] = word.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

/// The rows of the table of listeners of one address family; none if the system does not tell.
fn rows<T: 'static>(family: u16, words: usize, read: fn(&[u32]) -> Option<T>) -> impl Iterator<Item = T> {
    let table = listeners(family).unwrap_or_default();
    let count = table.first().map_or(0, |count| *count as usize);
    let rows: Vec<T> = table.get(1..).unwrap_or_default().chunks_exact(words).take(count).filter_map(read).collect();
    rows.into_iter()
}

fn listeners(family: u16) -> Option<Vec<u32>> {
    let mut size = 0_u32;
    // The first call says how much room is needed; the table may grow before the next, hence some to spare.
    for _ in 0..4 {
        let mut table = vec![0_u32; (size as usize).div_ceil(4) + 64];
        size = u32::try_from(table.len() * 4).ok()?;
        // SAFETY: the buffer has the size we state, and 4-byte alignment, which is the table's.
        let result = unsafe {
            GetExtendedTcpTable(table.as_mut_ptr().cast(), &mut size, 0, family.into(), TCP_TABLE_OWNER_PID_LISTENER, 0)
        };
        match result {
            NO_ERROR => return Some(table),
            ERROR_INSUFFICIENT_BUFFER => {}
            _ => return None,
        }
    }
    None
}

/// A directory below the user's profile is private already.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(()) // Windows has no such call, and journals its renames
}

pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let name: Vec<u16> = path.as_os_str().encode_wide().chain(std::iter::once(0)).collect();
    let mut free = 0_u64;
    // SAFETY: the name ends with a NUL, the place is ours, and the two null ones are allowed to be.
    if unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &mut free, std::ptr::null_mut(), std::ptr::null_mut()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_and_gone_again() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(host) else { continue }; // a machine may have no IPv6
            let addr = socket.local_addr().unwrap();
            assert_eq!(listener(addr), Some(std::process::id()), "{addr}");
            drop(socket);
            assert_eq!(listener(addr), None, "{addr}");
        }
    }

    #[test]
    fn rows_are_read_in_the_networks_byte_order() {
        let word = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        let port = word([9, 75, 0xaa, 0xaa]); // what is above the port may be anything
        let v4 = [2, word([127, 0, 0, 1]), port, 0, 0, 42];
        assert_eq!(v4_row(&v4), Some(("127.0.0.1:2379".parse().unwrap(), 42)));
        let v6 = [0, 0, 0, word([0, 0, 0, 1]), 0, port, 0, 0, 0, 0, 0, 0, 2, 42];
        assert_eq!(v6_row(&v6), Some(("[::1]:2379".parse().unwrap(), 42)));
        assert_eq!((v4.len(), v6.len()), (V4_WORDS, V6_WORDS));
    }

    #[test]
    fn wildcards_collide_with_what_they_serve() {
        let collide = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collide("0.0.0.0:1", "127.0.0.1:1") && collide("127.0.0.1:1", "0.0.0.0:1"));
        assert!(collide("[::]:1", "127.0.0.1:1") && collide("[::]:1", "[::1]:1"));
        assert!(!collide("0.0.0.0:1", "[::1]:1") && !collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("cmd").args(["/c", "pause"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::open(child.id()).unwrap().unwrap();
        let identity = process.identity().unwrap().unwrap();
        assert_eq!(identity.pid, child.id());
        assert_eq!(process.identity().unwrap(), Some(identity));
        assert!(!process.ended_within(Duration::from_nanos(1)).unwrap());
        process.kill().unwrap();
        assert!(process.ended_within(Duration::from_secs(10)).unwrap());
        assert_eq!(process.identity().unwrap(), None);
        process.kill().unwrap();
        child.wait().unwrap();
    }
}
