//! Undo files that were cut short, changed or made up: `undo` refuses them or does what they say, and never changes a key
//! that is there.

use std::fs;

use anyhow::{Context as _, Result};

use super::scene::Scene;
use crate::torture::dice::Dice;
use crate::torture::{Played, Round, keyspace};

const KEYS: u64 = 60;
const FILES: usize = 10;

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let scene = Scene::new(round, KEYS)?;
    scene.del(usize::try_from(KEYS)?)?.finish()?.ok()?;
    let file = scene.undo_files()?.into_iter().next().context("`del` wrote no undo file")?;
    let whole = fs::read(&file)?;
    scene.undo(&file)?.ok()?;
    let there = scene.inside()?;
    for _ in 0..FILES {
        let path = scene.ground.workspace.path("damaged.jsonl");
        fs::write(&path, damaged(&mut round.dice, &whole))?;
        let undone = scene.undo(&path)?.ends_with(&[0, 1, 2, 4])?;
        round.tally.add(if undone.status.success() { "believed files" } else { "refused files" }, 1);
        let now = scene.inside()?;
        for (key, was) in &there {
            let one = [(key.clone(), was.clone())].into();
            let is = now.get(key).map(|is| (key.clone(), is.clone())).into_iter().collect();
            keyspace::same("a key that was there", &one, &is)?;
        }
    }
    Ok(Played::Through)
}

fn damaged(dice: &mut Dice, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match dice.pick([0, 1, 2, 3, 4]) {
        0 => bytes.truncate(dice.index(0..bytes.len())),
        1 => dice.scratch(&mut bytes, 5),
        // A line is missing, or there twice.
        2 | 3 => {
            let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
            let at = dice.index(0..lines.len());
            match lines.get(at).copied() {
                Some(line) if dice.once_in(2) => lines.insert(at, line),
                _ => drop(lines.remove(at)),
            }
            bytes = lines.concat();
        }
        _ => bytes = dice.bytes(300),
    }
    bytes
}
