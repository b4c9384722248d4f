//! A disk that is full, or nearly: etcd's start succeeds or fails with a reason, and every acknowledged write is there when
//! there is room again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::record;
use crate::guard;
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};
use crate::workspace::{get, put};

/// Room for a member: two of its preallocated log files, and some.
const MEGABYTES: u64 = 150;

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let small = round.dir.join("small");
    fs::create_dir(&small)?;
    if !mount(&small)? {
        return Ok(Outcome::Skipped("this user may not mount a file system to fill".to_owned()));
    }
    let outcome = run_on(round, &small);
    match outcome {
        Ok(_) => guard::unmount(&small)?,
        // The guard unmounts the disk; the server's log is evidence.
        Err(_) => drop(fs::copy(small.join("w/.etcd/default/etcd.log"), round.dir.join("etcd.log"))),
    }
    outcome
}

fn run_on(round: &mut Round<'_>, small: &Path) -> Result<Outcome> {
    let workspace = round.workspace("small/w")?;
    let before = round.rng.one_in(2);
    if before {
        record::put(&workspace.up()?, "v")?;
        workspace.down()?;
    }
    let ballast = small.join("ballast");
    let left = round.rng.number(0..if before { 4_000_000 } else { 140_000_000 });
    fill(small, &ballast, left)?;
    let call = workspace.call(&["etcd-up"])?.ends_with(&[0, 1])?;
    if call.status.success() {
        round.tally.add("starts in what was left", 1);
    } else {
        ensure!(call.stderr.contains("error: ") && call.stderr.contains("hint: "), "the error is: {}", call.stderr);
        ensure!(workspace.servers().is_empty(), "a start that failed left a server");
        round.tally.add("refused starts", 1);
    }
    workspace.check_status()?;
    let written = if call.status.success() { written_until_full(&workspace)? } else { 0 };
    round.tally.add("acknowledged writes until it was full", written);
    fs::remove_file(&ballast)?;
    let up = workspace.up()?;
    let key = record::get(&up)?;
    ensure!(!before || key.as_deref() == Some("v"), "the key is gone: {key:?}");
    for number in 0..written {
        let is = get(record::endpoint(&up)?, &large_key(number))?;
        ensure!(is.is_some_and(|value| value.len() == LARGE), "acknowledged write {number} of {written} is lost");
    }
    workspace.down()?;
    Ok(Outcome::Completed)
}

/// Some hundred values of this size fill the disk.
const LARGE: usize = 192 << 10;

/// Writes until etcd refuses a write or ends. Gives the number of acknowledged writes.
fn written_until_full(workspace: &TortureWorkspace<'_>) -> Result<u64> {
    let status = workspace.status()?;
    let most = MEGABYTES * (1 << 20) / LARGE as u64;
    let endpoint = record::endpoint(&status)?;
    let refused = (0..most).find(|number| {
        workspace.servers().is_empty() || put(endpoint, &large_key(*number), &"A".repeat(LARGE)).is_err()
    });
    workspace.check_status()?;
    refused.context("a disk took more than its size")
}

fn large_key(number: u64) -> String {
    format!("{number:04}")
}

fn mount(dir: &Path) -> Result<bool> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={MEGABYTES}m"), "tmpfs"]).arg(dir);
    mount.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(mount.status().is_ok_and(|status| status.success()))
}

/// Leaves at most so many bytes.
fn fill(small: &Path, ballast: &Path, left: u64) -> Result<()> {
    let room = rustix::fs::statvfs(small)?;
    let size = (room.f_bavail * room.f_frsize).saturating_sub(left);
    let mut file = File::create(ballast)?;
    let block = vec![0; 1 << 20];
    let mut written = 0;
    while written < size {
        let some = usize::try_from(size - written).unwrap_or(usize::MAX).min(block.len());
        match file.write(block.get(..some).unwrap_or_default()) {
            Ok(count @ 1..) => written += count as u64,
            _ => break,
        }
    }
    Ok(())
}
