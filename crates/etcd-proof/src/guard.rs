//! The guard of a directory: a process that outlives the bench or torture in it, however that ends, just long enough to
//! end every process that belongs there, unmount what is mounted there, and remove it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_xtask::{Exit, child};

use crate::{processes, wait};

/// What the guard reads if the directory is to stay.
pub(crate) const KEEP: &[u8] = b"keep\n";
/// How often nobody must be found: who is being started is not seen for a moment.
const LOOKS: u32 = 3;

/// Starts the guard of a directory. Ctrl-C in a terminal is not for it: the end of its stdin is its cue.
pub(crate) fn start(dir: &Path, workspace: &Path) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.args(["--xtask", "-", "guard", "--dir"]).arg(dir).env("CARGO_MANIFEST_DIR", workspace);
    child::out_of_reach(command.stdin(Stdio::piped()).stdout(Stdio::null()));
    command.spawn().context("cannot start the guard")
}

/// Gives a guard its cue, and waits until it has cleaned up; not longer than it waits itself.
pub(crate) fn dismiss(guard: &mut Child) {
    drop(guard.stdin.take());
    let _ = wait::until("the guard has ended", wait::PATIENCE * 2, || Ok(guard.try_wait()?.is_some()));
}

/// Waits for the end of stdin, and cleans up.
pub(crate) fn guard(dir: &Path) -> Result<Exit> {
    // Relative to nothing: the directory of whoever started us may go.
    std::env::set_current_dir("/").context("cannot leave the directory")?;
    let mut word = Vec::new();
    // An error is an end, too.
    drop(std::io::stdin().lock().read_to_end(&mut word));
    let mut quiet = 0;
    wait::until("all processes have ended", wait::PATIENCE, || {
        let left = processes::of(dir);
        for process in &left {
            processes::kill(process.pid, dir)?;
        }
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        wait::pause(Duration::from_millis(10));
        Ok(quiet >= LOOKS)
    })?;
    for mount in mounts_below(dir) {
        unmount(&mount)?;
    }
    if word != KEEP {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
    }
    Ok(Exit::SUCCESS)
}

/// Ends a mount of ours; whoever still has a file open there has a moment to end.
pub(crate) fn unmount(mount: &Path) -> Result<()> {
    let mut umount = Command::new("umount");
    umount.arg(mount).stdin(Stdio::null()).stderr(Stdio::null());
    let ended = || Ok(umount.status()?.success());
    wait::until("it is unmounted", wait::PATIENCE / 6, ended)
        .with_context(|| format!("cannot unmount `{}`", mount.display()))
}

/// From the table of mounts; a name of ours has nothing that would be escaped there.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let paths = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    paths.filter(|path| path.starts_with(dir)).collect()
}
