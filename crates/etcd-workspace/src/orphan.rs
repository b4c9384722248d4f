//! Servers whose lock file was deleted under them, with all of `.etcd` by `git clean -fdx`, say: nothing in the workspace
//! leads to them any more, but they hold that file still as their standard input, and Linux knows the path that it had.

use std::path::{Path, PathBuf};

use crate::paths::member_lock;

/// The servers of the instance in `dir`, or of its members, whose lock file was deleted; none where the system does not tell. A pid proves
/// nothing later: who signals one looks at [`instance_dir`] again once the process is held.
#[must_use]
pub fn orphans(dir: &Path) -> Vec<u32> {
    let ours = resolve(dir);
    let is_ours = |found: &Path| found == ours || found.parent() == Some(&ours);
    let was_ours = |pid: &u32| instance_dir(*pid).is_some_and(|(dir, is_orphan)| is_orphan && is_ours(&dir));
    system::pids().filter(|pid| was_ours(pid) && system::is_server(*pid)).collect()
}

/// The directories of the instances in `home` that have such a server.
#[must_use]
pub fn orphaned(home: &Path) -> Vec<PathBuf> {
    let home = resolve(home);
    let servers = system::pids().filter(|pid| system::is_server(*pid));
    let dirs = servers.filter_map(instance_dir).filter_map(|(dir, is_orphan)| is_orphan.then_some(dir));
    // A member's directory is in its instance's, which is in the home.
    let instance =
        |dir: PathBuf| dir.ancestors().take(2).find(|dir| dir.parent().is_some_and(is_home)).map(Path::to_owned);
    let mut dirs: Vec<_> = dirs.filter_map(instance).filter(|dir| dir.parent() == Some(&home)).collect();
    dirs.dedup();
    dirs
}

/// The directory of the instance, or of the member of an instance, of whatever workspace, whose lock a process has as its standard input, without links in
/// its path, and whether the lock file was deleted. `None`: it has none, or the system does not tell.
#[must_use]
pub fn instance_dir(pid: u32) -> Option<(PathBuf, bool)> {
    let (lock, is_deleted) = system::standard_input(pid)?;
    let dir = lock.parent()?;
    let is_instance = lock == member_lock(dir) && dir.ancestors().skip(1).take(2).any(is_home);
    is_instance.then(|| (dir.to_owned(), is_deleted))
}

fn is_home(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name == ".etcd")
}

/// A path without links in what there is of it, as the system itself names what was there.
fn resolve(path: &Path) -> PathBuf {
    let resolved = path.ancestors().find_map(|dir| Some((dir.canonicalize().ok()?, path.strip_prefix(dir).ok()?)));
    resolved.map_or_else(|| path.to_owned(), |(dir, rest)| dir.join(rest))
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    pub(super) fn pids() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    }

    /// A file, and whether it was deleted; of this mount namespace, as a path means something else in another.
    pub(super) fn standard_input(pid: u32) -> Option<(PathBuf, bool)> {
        let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
        let link = format!("/proc/{pid}/fd/0");
        let path = fs::read_link(&link).ok()?;
        let is_deleted = fs::metadata(&link).ok().filter(fs::Metadata::is_file)?.nlink() == 0;
        let deleted = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").filter(|_| is_deleted);
        let path = deleted.map_or_else(|| path.clone(), |path| OsStr::from_bytes(path).into());
        (mounts(&pid.to_string())? == mounts("self")?).then_some((path, is_deleted))
    }

    /// Whether it was started as our servers are.
    pub(super) fn is_server(pid: u32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg.starts_with(b"--data-dir="))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::PathBuf;

    pub(super) fn pids() -> impl Iterator<Item = u32> {
        std::iter::empty()
    }

    pub(super) fn standard_input(_: u32) -> Option<(PathBuf, bool)> {
        None
    }

    pub(super) fn is_server(_: u32) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::error::InstanceError;
    use crate::instance::{Liveness, liveness};

    #[test]
    fn a_server_is_found_by_the_lock_that_was_deleted() {
        let workspace = tempfile::tempdir().unwrap();
        let home = workspace.path().join(".etcd");
        let dir = home.join("default");
        fs::create_dir_all(&dir).unwrap();
        let start = |arg: &str| {
            let lock = fs::File::create(member_lock(&dir)).unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", "echo up; kill -STOP $$", arg]);
            let mut child = command.stdin(lock).stdout(Stdio::piped()).spawn().unwrap();
            // Then it runs its own program.
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
            child
        };
        let (mut server, mut other) = (start("--data-dir=x"), start("x"));
        let resolved = dir.canonicalize().unwrap();
        assert_eq!(instance_dir(server.id()), Some((resolved.clone(), false)));
        assert!(orphans(&dir).is_empty() && orphaned(&home).is_empty());
        assert_eq!(liveness(&dir).unwrap(), Liveness::Stopped);
        fs::remove_dir_all(&home).unwrap();
        assert_eq!((orphans(&dir), orphaned(&home)), (vec![server.id()], vec![resolved]));
        let Err(InstanceError::Orphaned { pids, .. }) = liveness(&dir) else { panic!("not found") };
        assert_eq!(pids, [server.id()]);
        assert!(orphans(&home.join("other")).is_empty() && orphaned(workspace.path()).is_empty());
        for child in [&mut server, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(liveness(&dir).unwrap(), Liveness::Stopped);
    }
}
