//! Jobs that end their members with their last handle.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::Command;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    PROCESS_SET_QUOTA, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, WaitForSingleObject,
};

use super::open;

/// A new job without a member. Nobody inherits its handle, so that ours is the last.
pub(super) fn ending_with_its_handle() -> io::Result<OwnedHandle> {
    // SAFETY: a plain call; null is checked before the handle is owned.
    let raw = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is open and nobody else's.
    let job = unsafe { OwnedHandle::from_raw_handle(raw) };
    limit(&job, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)?;
    Ok(job)
}

/// Lets the members live on without the job.
pub(super) fn release(job: &OwnedHandle) -> io::Result<()> {
    limit(job, 0)
}

fn limit(job: &OwnedHandle, flags: u32) -> io::Result<()> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = flags;
    let size = size_of_val(&limits) as u32;
    let limits = std::ptr::from_ref(&limits).cast();
    // SAFETY: the handle is open, and the structure has the size that we state.
    match unsafe { SetInformationJobObject(job.as_raw_handle(), JobObjectExtendedLimitInformation, limits, size) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A job that kills its members, and what they start, with this value or with our process.
#[derive(Debug)]
pub struct ProcessGroup {
    job: OwnedHandle,
}

impl ProcessGroup {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { job: ending_with_its_handle()? })
    }

    /// A process that runs already can still be added.
    pub(crate) fn prepare(&self, _: &mut Command) {}

    pub(crate) fn add(&self, pids: &[u32]) -> io::Result<()> {
        for pid in pids {
            let process = open(*pid, PROCESS_SET_QUOTA | PROCESS_TERMINATE | PROCESS_SYNCHRONIZE)?;
            // SAFETY: both handles are open.
            if unsafe { AssignProcessToJobObject(self.job.as_raw_handle(), process.as_raw_handle()) } == 0 {
                let error = io::Error::last_os_error();
                // A process that has ended is refused, and need not be killed.
                // SAFETY: the handle is open.
                if unsafe { WaitForSingleObject(process.as_raw_handle(), 0) } != WAIT_OBJECT_0 {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// They are killed when the group is dropped, in any case.
    pub(crate) fn kill(&self) {}
}
