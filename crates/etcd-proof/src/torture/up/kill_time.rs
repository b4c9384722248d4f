//! When a call is killed: some time after its start, or at its n-th change on disk, which lies between two of its steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};

use crate::torture::calls::RunningCall;
use crate::torture::rng::Rng;
use crate::wait;

pub(super) enum KillTime {
    After(Duration),
    /// At this change, counted from 1.
    AtChange(u64),
}

impl KillTime {
    pub(super) fn choose(rng: &mut Rng, longest: u64, changes: u64) -> Self {
        match rng.one_in(2) {
            true => Self::After(rng.delay(longest)),
            false => Self::AtChange(rng.number(1..=changes)),
        }
    }

    /// Waits until then, or until the call has ended.
    pub(super) fn wait(&self, call: &mut RunningCall, dirs: &[PathBuf]) -> Result<()> {
        match self {
            Self::After(time) => {
                let until = Instant::now() + *time;
                while Instant::now() < until && !call.has_ended()? {
                    wait::pause(Duration::from_micros(200).min(*time));
                }
            }
            Self::AtChange(number) => {
                let (mut last, mut seen, began) = (list(dirs), 0, Instant::now());
                // No pause: whatever happens between two looks counts as one change.
                while seen < *number && !call.has_ended()? {
                    ensure!(began.elapsed() < wait::TIMEOUT, "the call hangs");
                    let now = list(dirs);
                    seen += u64::from(now != last);
                    last = now;
                }
            }
        }
        Ok(())
    }
}

type Entry = (PathBuf, u64, Option<SystemTime>);

fn list(dirs: &[PathBuf]) -> Vec<Entry> {
    let entry = |path: PathBuf| {
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some((path, metadata.len(), metadata.modified().ok()))
    };
    let paths = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|found| found.path());
    let mut all: Vec<Entry> = dirs.iter().flat_map(|dir| paths(dir)).filter_map(entry).collect();
    all.sort();
    all
}
