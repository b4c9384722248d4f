//! Windows: process handles, job objects, sharing modes.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, ERROR_SHARING_VIOLATION, FILETIME, HANDLE_FLAG_INHERIT,
    SetHandleInformation, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::AF_INET;
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, QueryFullProcessImageNameW, TerminateProcess, WaitForSingleObject,
};

use super::Access;
use crate::process::Identity;

/// An open handle keeps the pid from being given to another process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    handle: OwnedHandle,
}

impl Process {
    /// `None`: there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let full = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE;
        // SAFETY: a plain call; null is checked before the handle is owned.
        let raw = unsafe { OpenProcess(full, 0, pid) };
        if raw.is_null() {
            let error = io::Error::last_os_error();
            return match error.raw_os_error().map(i32::cast_unsigned) {
                // Access denied: it is somebody else's, hence not ours.
                Some(ERROR_INVALID_PARAMETER | ERROR_ACCESS_DENIED) => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: the handle is open and nobody else's.
        let handle = unsafe { OwnedHandle::from_raw_handle(raw) };
        Ok(Some(Self { pid, handle }))
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
        // SAFETY: the handle is open and was opened for this.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), 1) } != 0 || self.ended_within(Duration::ZERO)? {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// Waits for the end at most this long.
    pub(crate) fn ended_within(&self, patience: Duration) -> io::Result<bool> {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the handle is open and was opened for this.
        match unsafe { WaitForSingleObject(self.handle.as_raw_handle(), millis) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A job object that ends its members when its last handle, ours, is closed.
#[derive(Debug)]
pub(crate) struct Tie {
    _job: OwnedHandle,
}

impl Tie {
    pub(crate) fn new(child: &Child) -> io::Result<Self> {
        // SAFETY: plain calls; null is checked before the handle is owned, the structure is all integers
        // for which zeros are valid, and its size is the one we state.
        unsafe {
            let raw = CreateJobObjectW(std::ptr::null(), std::ptr::null());
            if raw.is_null() {
                return Err(io::Error::last_os_error());
            }
            let job = OwnedHandle::from_raw_handle(raw);
            let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = std::mem::zeroed();
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
            let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
            let limits = std::ptr::from_ref(&limits).cast();
            if SetInformationJobObject(raw, JobObjectExtendedLimitInformation, limits, size) == 0
                || AssignProcessToJobObject(raw, child.as_raw_handle()) == 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { _job: job })
        }
    }
}

/// Start times are absolute here, so a reboot cannot make two alike.
pub(crate) fn boot_id() -> String {
    String::new()
}

pub(crate) fn host_name() -> Option<String> {
    None // COMPUTERNAME says it, and the environment is the caller's to read
}

pub(crate) fn detach(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: plain calls on a handle of our own. A child inherits every inheritable handle, and one
        // that outlives us would keep the pipe of whoever reads our output open for ever.
        unsafe {
            let handle = GetStdHandle(which);
            if !handle.is_null() {
                SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0);
            }
        }
    }
}

/// The job object does this, once the child exists: see [`Tie`].
pub(crate) fn tie_to_owner(_: &mut Command) {}

/// Sharing nothing is Windows' lock that children inherit: it lasts until the last copy of the handle is
/// closed. (Locked ranges belong to one process only.)
pub(crate) fn open_exclusive(path: &Path, access: Access) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).share_mode(0);
    if access == Access::Create {
        options.write(true).create(true).truncate(false);
    }
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error().map(i32::cast_unsigned) == Some(ERROR_SHARING_VIOLATION) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Windows does not tell who has a file open; the recorded identity and the listener do.
pub(crate) fn holders(_: &Path) -> Option<Vec<u32>> {
    None
}

pub(crate) fn arguments(_: u32) -> Option<Vec<String>> {
    None
}

pub(crate) fn listener(addr: SocketAddr) -> Option<u32> {
    let mut size = 0_u32;
    let family = u32::from(AF_INET);
    // The table may grow between the two calls: ask for room to spare, twice at most.
    for _ in 0..3 {
        let mut table = vec![0_u32; size as usize / 4 + 64];
        size = u32::try_from(table.len() * 4).ok()?;
        // SAFETY: the buffer has the size we state, and 4-byte alignment, which is the table's.
        let result = unsafe {
            GetExtendedTcpTable(table.as_mut_ptr().cast(), &mut size, 0, family, TCP_TABLE_OWNER_PID_LISTENER, 0)
        };
        if result == 0 {
            let (count, rows) = table.split_first()?;
            let words = size_of::<MIB_TCPROW_OWNER_PID>() / 4;
            return rows.chunks_exact(words).take(*count as usize).find_map(|row| owner(row, addr));
        }
    }
    None
}

/// A row of the table: state, local address, local port, remote address, remote port, owning pid.
fn owner(row: &[u32], addr: SocketAddr) -> Option<u32> {
    let [_, ip, port, _, _, pid] = row else { return None };
    let ip = IpAddr::from(Ipv4Addr::from(ip.to_ne_bytes()));
    let [high, low, ..] = port.to_ne_bytes();
    let collides = ip == addr.ip() || ip.is_unspecified() || addr.ip().is_unspecified();
    (u16::from_be_bytes([high, low]) == addr.port() && collides).then_some(*pid)
}

/// A directory below the user's profile is private already.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

pub(crate) fn is_ours(_: &Metadata) -> bool {
    true
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
