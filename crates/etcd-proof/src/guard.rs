//! A directory for everything that a bench or a torture makes, and its guard: a process that outlives this one, however
//! this one ends, ends every process that belongs to the directory, unmounts what is mounted there, and removes it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_xtask::{Exit, child};

use crate::{processes, wait};

/// The guard reads this if the directory must stay.
const KEEP: &[u8] = b"keep\n";
/// How many checks in a row must find no process: a process that is just starting can be missed once.
const CHECKS: u32 = 3;

/// A guarded directory, removed on drop.
pub(crate) struct ScratchDir {
    dir: PathBuf,
    guard: Child,
    next: AtomicU32,
}

impl ScratchDir {
    pub(crate) fn create(prefix: &str, workspace: &Path) -> Result<Self> {
        // A name that no other process has in its command line by chance.
        let dir = tempfile::Builder::new().prefix(prefix).rand_bytes(20).tempdir()?;
        let mut guard = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        guard.args(["--xtask", "-", "guard", "--dir"]).arg(dir.path()).env("CARGO_MANIFEST_DIR", workspace);
        // Ctrl-C in a terminal does not reach the guard: the end of its stdin tells it to clean up.
        child::ignore_terminal_signals(guard.stdin(Stdio::piped()).stdout(Stdio::null()));
        let guard = guard.spawn().context("cannot start the guard")?;
        Ok(Self { dir: dir.keep(), guard, next: AtomicU32::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// A new directory in it.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        Ok(dir)
    }

    /// Keeps the directory. Its processes are killed all the same.
    #[cfg(target_os = "linux")]
    pub(crate) fn keep(&mut self) -> &Path {
        if let Some(stdin) = &mut self.guard.stdin {
            drop(stdin.write_all(KEEP));
        }
        &self.dir
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Not a poll of `wait`: it must also wait after Ctrl-C. The guard has a timeout of its own.
        let _ = self.guard.wait();
    }
}

/// The guard process: waits for the end of stdin, and cleans up.
pub(crate) fn run(dir: &Path) -> Result<Exit> {
    // The directory of the parent process may go.
    std::env::set_current_dir("/").context("cannot leave the directory")?;
    let mut message = Vec::new();
    // An error is an end, too.
    drop(std::io::stdin().lock().read_to_end(&mut message));
    let mut quiet = 0;
    wait::until("all processes have ended", wait::TIMEOUT, || {
        let left = processes::of(dir);
        for process in &left {
            processes::kill(process.pid, dir)?;
        }
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        wait::pause(Duration::from_millis(10));
        Ok(quiet >= CHECKS)
    })?;
    for mount in mounts_below(dir) {
        unmount(&mount)?;
    }
    if message != KEEP {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
    }
    Ok(Exit::SUCCESS)
}

/// Unmounts a file system of ours. A process that has a file open there has a moment to end.
pub(crate) fn unmount(mount: &Path) -> Result<()> {
    let mut umount = Command::new("umount");
    umount.arg(mount).stdin(Stdio::null()).stderr(Stdio::null());
    let unmounted = || Ok(umount.status()?.success());
    wait::until("it is unmounted", wait::TIMEOUT / 6, unmounted)
        .with_context(|| format!("cannot unmount `{}`", mount.display()))
}

/// From the table of mounts. The names of our directories need no escaping there.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let paths = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    paths.filter(|path| path.starts_with(dir)).collect()
}
