//! The moment at which a call is killed: some time after its start, or at its n-th change on disk, which are the points
//! between two steps of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};

use crate::torture::calls::Pending;
use crate::torture::dice::Dice;
use crate::wait;

pub(super) enum Strike {
    After(Duration),
    /// At this change, counted from 1.
    AtChange(u64),
}

impl Strike {
    pub(super) fn draw(dice: &mut Dice, longest: u64, changes: u64) -> Self {
        match dice.once_in(2) {
            true => Self::After(dice.moment(longest)),
            false => Self::AtChange(dice.number(1..=changes)),
        }
    }

    /// Waits for the moment, and not longer than the call lasts.
    pub(super) fn wait(&self, call: &mut Pending, dirs: &[PathBuf]) -> Result<()> {
        match self {
            Self::After(time) => {
                let until = Instant::now() + *time;
                while Instant::now() < until && !call.is_over()? {
                    wait::pause(Duration::from_micros(200).min(*time));
                }
            }
            Self::AtChange(number) => {
                let (mut last, mut seen, began) = (look(dirs), 0, Instant::now());
                // It looks as often as it can: what lies between two looks is one change.
                while seen < *number && !call.is_over()? {
                    ensure!(began.elapsed() < wait::PATIENCE, "the call hangs");
                    let now = look(dirs);
                    seen += u64::from(now != last);
                    last = now;
                }
            }
        }
        Ok(())
    }
}

type Entry = (PathBuf, u64, Option<SystemTime>);

fn look(dirs: &[PathBuf]) -> Vec<Entry> {
    let entry = |path: PathBuf| {
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some((path, metadata.len(), metadata.modified().ok()))
    };
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|found| found.path());
    let mut all: Vec<Entry> = dirs.iter().flat_map(|dir| list(dir)).filter_map(entry).collect();
    all.sort();
    all
}
