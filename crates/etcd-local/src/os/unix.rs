//! What Linux and macOS share.

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::process::Lifetime;

/// Ends a child with its owner; on Unix the child itself was told, or a janitor was.
#[derive(Debug)]
pub(crate) struct Tie;

impl Tie {
    #[expect(clippy::unnecessary_wraps, reason = "Windows can fail here")]
    pub(crate) fn new(_: &std::process::Child) -> io::Result<Self> {
        Ok(Self)
    }
}

pub(crate) fn host_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

/// Children inherit nothing but their standard handles here: all else is close-on-exec.
pub(crate) type Server = std::process::Child;

pub(crate) fn spawn_server(mut command: Command, lock: File, log: File, lifetime: Lifetime) -> io::Result<Server> {
    command.stdin(lock).stdout(log.try_clone()?).stderr(log);
    detach(&mut command);
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

pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(crate) fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
