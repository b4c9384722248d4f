//! What differs between operating systems, behind one set of functions with one meaning. The only module
//! that may contain unsafe code. Policy (what to signal, when to give up) lives in its callers.

#![expect(unsafe_code, reason = "fork hooks on Unix, and Windows' and macOS's process calls have no safe form")]

#[cfg(target_os = "linux")]
#[path = "os/linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "os/macos.rs"]
mod system;
#[cfg(windows)]
#[path = "os/windows.rs"]
mod system;
#[cfg(unix)]
mod unix;

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
compile_error!("etcd-system knows how to own a process on Linux, macOS and Windows only");

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// A process held so that its pid cannot come to mean another one while we look or signal.
pub(crate) use system::Process;
/// The processes of one helper program: `prepare` its command, `add` it once it runs, `kill` it with all that it started.
/// The system kills them when our process ends, however it ends. Keep the group as long as the helper runs.
pub use system::ProcessGroup;

/// Whether processes can be held so that their pids stay their own.
///
/// # Errors
/// Why they cannot; they are told by pid and when they began then.
pub fn has_pidfds() -> io::Result<()> {
    system::has_pidfds()
}

/// This machine's name, the default name of a member.
pub fn host_name() -> Option<String> {
    system::host_name()
}

/// A server that [`spawn_server`] started: `id`, `wait` for its end, and `kill`.
pub(crate) use system::Server;

/// How long a child may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is stopped. The end of this process, the end of the terminal and Ctrl-C do not end it.
    Detached,
    /// Not longer than this process, however this process ends.
    Ours,
}

/// Starts the program of `command` with its arguments and variables, `lock` as its standard input and `log` as
/// the other two, away from the terminal. No other handle of ours reaches it, and once this returns we have
/// none of the lock. To be called by a thread that lives as long as the server: see [`tie_to_owner`].
pub(crate) fn spawn_server(command: Command, lock: File, log: File, lifetime: Lifetime) -> io::Result<Server> {
    system::spawn_server(command, lock, log, lifetime)
}

/// Makes the child a session of its own: no terminal's Ctrl-C or hang-up reaches it.
#[cfg(unix)]
pub fn detach(command: &mut Command) {
    unix::detach(command);
}

/// Gives the child no open file of ours but its standard input, output and error: for one that outlives a command, or
/// starts what does.
///
/// # Errors
/// If the system does not say what is open.
pub fn hand_over_stdio_only(command: &mut Command) -> io::Result<()> {
    system::hand_over_stdio_only(command)
}

/// Has the system end the child when our process ends, however it ends. On Linux this is bound to the
/// *thread* that spawns, which must live as long as the child.
pub fn tie_to_owner(command: &mut Command) {
    system::tie_to_owner(command);
}

/// The processes whose standard input is this file; `None` where the system does not tell.
pub fn holders(path: &Path) -> Option<Vec<u32>> {
    system::holders(path)
}

/// The arguments that a process of this user's was started with, its name first; `None` where the system
/// does not tell.
pub fn arguments(pid: u32) -> Option<Vec<String>> {
    system::arguments(pid)
}

/// The process that listens on `addr`, if the system lets us know.
pub fn listener(addr: SocketAddr) -> Option<u32> {
    system::listener(addr)
}

/// Creates a directory, and missing parents, that only this user may enter.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    system::create_private_dir(path)
}

/// Makes a rename in `dir` survive a power loss, where directories can be synced.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    system::sync_dir(dir)
}

/// Bytes that this user may still write to the file system of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    system::free_space(path)
}
