//! Who we are, for a run's record: host, boot, process, and when. Says nothing about others.

use std::fs;
use std::sync::OnceLock;

/// This machine and this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// Different after every start of the system; empty where it does not tell.
    pub(crate) boot: String,
}

/// The time of day, for people. Text cannot hold a time before 1970: an earlier clock counts as 1970.
pub(crate) fn now() -> std::time::SystemTime {
    std::time::SystemTime::now().max(std::time::SystemTime::UNIX_EPOCH)
}

impl Host {
    /// Read once: some systems answer only through a program.
    pub(crate) fn this() -> &'static Self {
        static THIS: OnceLock<Host> = OnceLock::new();
        THIS.get_or_init(|| Self { name: name(), boot: boot() })
    }
}

#[cfg(unix)]
fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(target_os = "macos")]
fn boot() -> String {
    let sysctl = std::process::Command::new("/usr/sbin/sysctl").args(["-n", "kern.bootsessionuuid"]).output();
    sysctl.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(not(target_os = "macos"))]
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// When a process started, in the system's own ticks; 0 if the system does not tell. People find a process by it and
/// the pid. No process is signalled and nothing is decided by it.
pub(crate) fn start_of(pid: u32) -> u64 {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0 };
    // The program's name comes first and may hold anything, a parenthesis too. Field 22 is the 20th after the name.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return 0 };
    fields.split(' ').nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_the_same_when_asked_again() {
        assert!(!Host::this().name.is_empty());
        #[cfg(target_os = "linux")]
        assert_eq!(Host::this().boot.len(), "00000000-0000-0000-0000-000000000000".len());
    }

    /// The program's name comes first in `/proc/PID/stat`, unquoted. This name looks like its own end and more fields.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_starts_after_us_whatever_its_name_is() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("x) S 1 2 3");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("600").spawn().unwrap();
        let (ours, theirs) = (start_of(std::process::id()), start_of(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        // Ticks are hundredths of a second.
        let uptime: f64 = fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(0 < ours && ours <= theirs && theirs as f64 <= uptime * 100.0 + 1.0, "{ours} {theirs} {uptime}");
        assert_eq!(start_of(child.id()), 0, "it is gone");
    }
}
