//! Undo files that are truncated, changed or random: `undo` refuses them or applies them, and never changes a key that is
//! there.

use std::fs;

use anyhow::{Context as _, Result};

use super::fixture::Fixture;
use crate::torture::rng::Rng;
use crate::torture::{Outcome, Round, keyspace};

const KEYS: u64 = 60;
const FILES: usize = 10;

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let fixture = Fixture::new(round, KEYS)?;
    fixture.del(usize::try_from(KEYS)?)?.finish()?.ok()?;
    let file = fixture.undo_files()?.into_iter().next().context("`del` wrote no undo file")?;
    let whole = fs::read(&file)?;
    fixture.undo(&file)?.ok()?;
    let there = fixture.inside()?;
    for _ in 0..FILES {
        let path = fixture.server.workspace.path("damaged.jsonl");
        fs::write(&path, damaged(&mut round.rng, &whole))?;
        let undone = fixture.undo(&path)?.ends_with(&[0, 1, 2, 4])?;
        round.tally.add(if undone.status.success() { "accepted files" } else { "refused files" }, 1);
        let now = fixture.inside()?;
        for (key, was) in &there {
            let one = [(key.clone(), was.clone())].into();
            let is = now.get(key).map(|is| (key.clone(), is.clone())).into_iter().collect();
            keyspace::same("a key that was there", &one, &is)?;
        }
    }
    Ok(Outcome::Completed)
}

fn damaged(rng: &mut Rng, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match rng.choose([0, 1, 2, 3, 4]) {
        0 => bytes.truncate(rng.index(0..bytes.len())),
        1 => rng.corrupt(&mut bytes, 5),
        // A line is missing, or repeated.
        2 | 3 => {
            let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
            let at = rng.index(0..lines.len());
            match lines.get(at).copied() {
                Some(line) if rng.one_in(2) => lines.insert(at, line),
                _ => drop(lines.remove(at)),
            }
            bytes = lines.concat();
        }
        _ => bytes = rng.bytes(300),
    }
    bytes
}
