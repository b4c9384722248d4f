//! `torture`: tries to break what the README promises. Here: which parts there are, their rounds, and what is said of
//! them. A part plays one round at a time, in a directory of its own; all its choices follow from the seed, its name and
//! the round's number, so that any round can be played again alone. It ends at the first violation.

mod arena;
mod calls;
mod delete;
mod dice;
mod keyspace;
mod runs;
mod up;
mod watch;
mod workspace;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_xtask::{Context, Exit, Failure, output};

use self::arena::{Arena, Round};
pub(crate) use self::writer::writer;
use crate::cli::{Torture, TortureName};

/// Something that is tried again and again.
struct Part {
    name: &'static str,
    /// How many rounds there are, if nobody says otherwise.
    rounds: u32,
    /// What was looked for and not found, if it ends well.
    none: &'static str,
    play: fn(&mut Round<'_>) -> Result<Played>,
}

/// How a round without violation went.
enum Played {
    Through,
    /// This machine cannot play it.
    Impossible(String),
}

/// How often somebody who waits is told how far it is.
const PACE: Duration = Duration::from_secs(15);

/// What was done, counted.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }
}

const EVERY: [TortureName; 4] = [TortureName::Up, TortureName::Runs, TortureName::Watch, TortureName::Delete];

fn word(name: TortureName) -> &'static str {
    match name {
        TortureName::Up => "up",
        TortureName::Runs => "runs",
        TortureName::Watch => "watch",
        TortureName::Delete => "delete",
    }
}

fn parts(name: TortureName) -> &'static [Part] {
    match name {
        TortureName::Up => up::PARTS,
        TortureName::Runs => runs::PARTS,
        TortureName::Watch => watch::PARTS,
        TortureName::Delete => delete::PARTS,
    }
}

pub(crate) fn run(args: &Torture, xtask: &Path, console: Option<&Path>, cx: &Context) -> Result<Exit> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u32(..).into());
    let chosen = chosen(args)?;
    let mut arena = Arena::new(xtask, console, cx)?;
    output::answer_text(&format!("seed {seed}\n"))?;
    for (name, part) in chosen {
        if !play(name, part, seed, args, &mut arena, cx)? {
            return Ok(Exit::FAILURE);
        }
    }
    Ok(Exit::SUCCESS)
}

fn chosen(args: &Torture) -> Result<Vec<(TortureName, &'static Part)>> {
    let names = EVERY.into_iter().filter(|name| args.name.is_none_or(|wanted| wanted == *name));
    let parts = names.flat_map(|name| parts(name).iter().map(move |part| (name, part)));
    let wanted = |part: &Part| args.only.as_ref().is_none_or(|only| only == part.name);
    let chosen: Vec<_> = parts.clone().filter(|(_, part)| wanted(part)).collect();
    if chosen.is_empty() {
        let known: Vec<_> = parts.map(|(_, part)| part.name).collect();
        let wanted = args.only.as_deref().unwrap_or_default();
        let what = format!("there is no part `{wanted}`; there are {}", known.join(", "));
        return Err(Failure::with_exit(Exit::USAGE, what, "`cargo xtask torture` without --only plays all of them"));
    }
    Ok(chosen)
}

/// Plays a part's rounds; tells whether it ended well.
fn play(name: TortureName, part: &Part, seed: u64, args: &Torture, arena: &mut Arena, cx: &Context) -> Result<bool> {
    let rounds = args.rounds.unwrap_or(part.rounds);
    let numbers = args.round.map_or(1..=rounds, |round| round..=round);
    let (began, mut tally, mut told) = (Instant::now(), Tally::default(), Instant::now());
    for number in numbers {
        if told.elapsed() >= PACE {
            cx.output.note(format_args!("{} {}: round {number} of {rounds} …", word(name), part.name));
            told = Instant::now();
        }
        match arena.play(part, number, seed, &mut tally) {
            Ok(Played::Through) => tally.add("rounds", 1),
            Ok(Played::Impossible(why)) => {
                output::answer_text(&format!("{} {}: skipped: {why}\n", word(name), part.name))?;
                return Ok(true);
            }
            Err(violation) => {
                tell(&violation, &format!("torture {}, {}, round {number}", word(name), part.name));
                eprintln!("  kept: {}", arena.keep().display());
                let (name, only) = (word(name), part.name);
                eprintln!(
                    "hint: `cargo xtask torture {name} --only {only} --seed {seed} --round {number}` plays it again"
                );
                return Ok(false);
            }
        }
    }
    let mut line = format!("{} {}:", word(name), part.name);
    let Tally(counts) = tally;
    let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let _ = writeln!(line, " {}; 0 {}; {:.0} s", counts.join(", "), part.none, began.elapsed().as_secs_f32());
    output::answer_text(&line)?;
    Ok(true)
}

/// As the other commands say what went wrong.
fn tell(violation: &anyhow::Error, place: &str) {
    eprintln!("error: {place}: {violation}");
    for cause in violation.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
