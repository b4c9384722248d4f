//! Starts a server that inherits only its lock and its log.
//!
//! `std::process` lets a child inherit every inheritable handle, and so does cargo: if a program reads the output of
//! `cargo xtask etcd-up` from a pipe, xtask has an unnamed copy of that pipe. If the server inherited the copy, the reader
//! would wait until the server ends.

use std::ffi::{OsStr, c_void};
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation, TRUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_UNICODE_ENVIRONMENT, CreateProcessW,
    DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE,
    InitializeProcThreadAttributeList, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST,
    PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW, TerminateProcess, UpdateProcThreadAttribute,
    WaitForSingleObject,
};

use super::job;
use crate::os::Lifetime;

/// A server that we started; dropped, it lives on, unless its lifetime is ours.
#[derive(Debug)]
pub(crate) struct Server {
    process: OwnedHandle,
    pid: u32,
    /// The only handle of a job that ends with it.
    _job: Option<OwnedHandle>,
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.pid
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        // SAFETY: the handle is open, and has every right because we created the process.
        if unsafe { TerminateProcess(self.process.as_raw_handle(), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        let mut code = 0;
        // SAFETY: the handle is open, and has every right because we created the process; the place is ours.
        let done = unsafe {
            WaitForSingleObject(self.process.as_raw_handle(), INFINITE) == WAIT_OBJECT_0
                && GetExitCodeProcess(self.process.as_raw_handle(), &mut code) != 0
        };
        if done { Ok(ExitStatus::from_raw(code)) } else { Err(io::Error::last_os_error()) }
    }
}

/// Starts `command`, of which program, arguments and variables count, and nothing is inherited. The server has
/// an invisible console of its own, so that no Ctrl-C and no closed window reaches it. (Without any
/// console, `DETACHED_PROCESS`, whatever it starts itself would open a window.)
#[expect(clippy::needless_pass_by_value, reason = "our copies of the handles are closed with the call")]
pub(crate) fn spawn_server(command: Command, lock: File, log: File, lifetime: Lifetime) -> io::Result<Server> {
    let program = command.get_program();
    let is_batch = |ext: &OsStr| ext.eq_ignore_ascii_case("bat") || ext.eq_ignore_ascii_case("cmd");
    if Path::new(program).extension().is_some_and(is_batch) {
        // The shell would hold the lock, and ending it would not end the server.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a batch file cannot stand in for a server"));
    }
    let application = with_nul(program.encode_wide())?;
    let mut line = command_line(&command)?;
    let environment = environment(&command)?;
    let job = job::ending_with_its_handle()?;
    let inherited = [inheritable(&lock)?, inheritable(&log)?];
    let jobs = [job.as_raw_handle()];

    let mut attributes = Attributes::with_room_for(2)?;
    attributes.set(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &inherited)?;
    // In the job from the beginning: there is no moment at which our end would leave it behind. A detached one
    // is in it until it runs, for a process whose creator is killed meanwhile never does, and keeps its lock.
    attributes.set(PROC_THREAD_ATTRIBUTE_JOB_LIST, &jobs)?;
    let mut startup = STARTUPINFOEXW { lpAttributeList: attributes.as_ptr(), ..Default::default() };
    startup.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    let [stdin, output] = inherited;
    startup.StartupInfo.hStdInput = stdin;
    startup.StartupInfo.hStdOutput = output;
    startup.StartupInfo.hStdError = output;
    let flags = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
    let mut created = PROCESS_INFORMATION::default();
    // SAFETY: the three texts end with a NUL (the variables with two), and the line may be written to; the
    // attributes, and what they point to, outlive the call; `cb` says that the extended structure is there.
    let done = unsafe {
        CreateProcessW(
            application.as_ptr(),
            line.as_mut_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            TRUE,
            flags,
            environment.as_ptr().cast(),
            std::ptr::null(),
            std::ptr::from_ref(&startup).cast(),
            &mut created,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both handles are open and nobody else's.
    let (process, _thread) =
        unsafe { (OwnedHandle::from_raw_handle(created.hProcess), OwnedHandle::from_raw_handle(created.hThread)) };
    let job = match lifetime {
        Lifetime::Ours => Some(job),
        Lifetime::Detached => job::release(&job).map(|()| None)?,
    };
    Ok(Server { process, pid: created.dwProcessId, _job: job })
}

/// A handle in the list must be inheritable as well. Both are closed on our side as soon as the server runs.
fn inheritable(file: &File) -> io::Result<HANDLE> {
    let handle = file.as_raw_handle();
    // SAFETY: a plain call on an open handle of our own.
    match unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(handle),
    }
}

/// What `CreateProcessW` is told beyond the ordinary.
struct Attributes {
    /// In words, for the alignment of what the system keeps there.
    list: Vec<usize>,
}

impl Attributes {
    fn with_room_for(count: u32) -> io::Result<Self> {
        let mut size = 0;
        // SAFETY: without a list the call says how large one must be.
        unsafe { InitializeProcThreadAttributeList(std::ptr::null_mut(), count, 0, &mut size) };
        let mut list = vec![0_usize; size.div_ceil(size_of::<usize>())];
        // SAFETY: the list has at least the size that was asked for.
        match unsafe { InitializeProcThreadAttributeList(list.as_mut_ptr().cast(), count, 0, &mut size) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Self { list }),
        }
    }

    /// The system keeps the address of `handles`: they must live as long as the list is used.
    fn set(&mut self, attribute: u32, handles: &[HANDLE]) -> io::Result<()> {
        // SAFETY: the list was initialized and has room; the size is the slice's own.
        let done = unsafe {
            UpdateProcThreadAttribute(
                self.as_ptr(),
                0,
                attribute as usize,
                handles.as_ptr().cast(),
                size_of_val(handles),
                std::ptr::null_mut(),
                std::ptr::null(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.list.as_mut_ptr().cast()
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the list was initialized.
        unsafe { DeleteProcThreadAttributeList(self.as_ptr()) };
    }
}

/// A NUL in the middle would cut off what follows it.
fn with_nul(text: impl Iterator<Item = u16>) -> io::Result<Vec<u16>> {
    let mut text: Vec<u16> = text.collect();
    if text.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL in a program, an argument or a variable"));
    }
    text.push(0);
    Ok(text)
}

fn command_line(command: &Command) -> io::Result<Vec<u16>> {
    let mut line = Vec::new();
    quote(command.get_program(), &mut line);
    for arg in command.get_args() {
        line.push(u16::from(b' '));
        quote(arg, &mut line);
    }
    with_nul(line.into_iter())
}

/// As programs take their command line apart, Go's like C's: backslashes count only before a quote.
fn quote(arg: &OsStr, line: &mut Vec<u16>) {
    const QUOTE: u16 = b'"' as u16;
    const BACKSLASH: u16 = b'\\' as u16;
    let mut backslashes = 0;
    line.push(QUOTE);
    for unit in arg.encode_wide() {
        if unit == QUOTE {
            line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
        }
        backslashes = if unit == BACKSLASH { backslashes + 1 } else { 0 };
        line.push(unit);
    }
    line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
    line.push(QUOTE);
}

/// `NAME=value`, each with a NUL, sorted by name without regard to case, and one more NUL.
fn environment(command: &Command) -> io::Result<Vec<u16>> {
    let mut vars: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
    vars.sort_by_cached_key(|(name, _)| name.to_string_lossy().to_uppercase());
    let mut block = Vec::new();
    for (name, value) in vars {
        let equals = std::iter::once(u16::from(b'='));
        block.extend(with_nul(name.encode_wide().chain(equals).chain(value.encode_wide()))?);
    }
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(units: &[u16]) -> String {
        String::from_utf16(units).unwrap()
    }

    #[test]
    fn arguments_are_quoted_as_programs_read_them() {
        for (arg, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r"C:\a b\", r#""C:\a b\\""#),
            (r"a\b", r#""a\b""#),
            (r#"a"b"#, r#""a\"b""#),
            (r#"a\"b"#, r#""a\\\"b""#),
        ] {
            let mut line = Vec::new();
            quote(OsStr::new(arg), &mut line);
            assert_eq!(text(&line), quoted, "{arg}");
        }
    }

    #[test]
    fn variables_are_sorted_and_end_with_two_nuls() {
        let mut command = Command::new("x");
        assert_eq!(text(&environment(&command).unwrap()), "\0\0");
        command.env("b", "2").env("A", "1").env("C", "");
        assert_eq!(text(&environment(&command).unwrap()), "A=1\0b=2\0C=\0\0");
        command.env("D", "1\0E=2");
        assert!(environment(&command).is_err());
    }

    #[test]
    fn a_batch_file_is_no_server() {
        let (lock, log) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let error = spawn_server(Command::new(r"C:\etcd.CMD"), lock, log, Lifetime::Detached).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
