//! `torture`: tries to break what the README promises. Here: the parts, their rounds, and the report. Each round runs in
//! its own directory. All random choices of a round follow from the seed, the part's name and the round's number, so that
//! any round can be repeated alone. `torture` ends at the first violation.

mod calls;
mod cluster;
mod delete;
mod keyspace;
mod rng;
mod runs;
mod testbed;
mod up;
mod watch;
mod workspace;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum as _;
use etcd_xtask::{Context, Exit, Failure, output};

use self::testbed::{Round, TestBed};
pub(crate) use self::writer::writer;
use crate::cli::{Torture, TortureName};

/// One kind of attack, repeated in rounds.
struct Part {
    name: &'static str,
    /// The default number of rounds.
    rounds: u32,
    /// The violations that it looks for. The report prints them after a 0.
    none: &'static str,
    run: fn(&mut Round<'_>) -> Result<Outcome>,
}

/// The outcome of a round without a violation.
enum Outcome {
    Completed,
    /// The part cannot run on this machine, for this reason.
    Skipped(String),
}

/// How often progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// Counts of what the rounds did.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }
}

/// As on the command line.
fn name_of(name: TortureName) -> String {
    name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn parts(name: TortureName) -> &'static [Part] {
    match name {
        TortureName::Up => up::PARTS,
        TortureName::Runs => runs::PARTS,
        TortureName::Watch => watch::PARTS,
        TortureName::Delete => delete::PARTS,
        TortureName::Cluster => cluster::PARTS,
    }
}

pub(crate) fn run(args: &Torture, xtask: &Path, console: &Path, cx: &Context) -> Result<Exit> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u32(..).into());
    let chosen = chosen(args)?;
    let mut testbed = TestBed::new(xtask, console, cx)?;
    output::answer_text(&format!("seed {seed}\n"))?;
    for (name, part) in chosen {
        if !run_part(name, part, seed, args, &mut testbed, cx)? {
            return Ok(Exit::FAILURE);
        }
    }
    Ok(Exit::SUCCESS)
}

fn chosen(args: &Torture) -> Result<Vec<(TortureName, &'static Part)>> {
    let names =
        TortureName::value_variants().iter().copied().filter(|name| args.name.is_none_or(|wanted| wanted == *name));
    let parts = names.flat_map(|name| parts(name).iter().map(move |part| (name, part)));
    let wanted = |part: &Part| args.only.as_ref().is_none_or(|only| only == part.name);
    let chosen: Vec<_> = parts.clone().filter(|(_, part)| wanted(part)).collect();
    if chosen.is_empty() {
        let known: Vec<_> = parts.map(|(_, part)| part.name).collect();
        let wanted = args.only.as_deref().unwrap_or_default();
        let what = format!("there is no part `{wanted}`; the parts are {}", known.join(", "));
        return Err(Failure::with_exit(Exit::USAGE, what, "`cargo xtask torture` without --only runs all of them"));
    }
    Ok(chosen)
}

/// Runs a part's rounds; `false`: there was a violation.
fn run_part(
    name: TortureName,
    part: &Part,
    seed: u64,
    args: &Torture,
    testbed: &mut TestBed,
    cx: &Context,
) -> Result<bool> {
    let (name, only, rounds) = (name_of(name), part.name, args.rounds.unwrap_or(part.rounds));
    let (began, mut tally, mut last_note) = (Instant::now(), Tally::default(), Instant::now());
    for number in args.round.map_or(1..=rounds, |round| round..=round) {
        if last_note.elapsed() >= PROGRESS_INTERVAL {
            cx.output.note(format_args!("{name} {only}: round {number} of {rounds} …"));
            last_note = Instant::now();
        }
        match testbed.run_round(part, number, seed, &mut tally) {
            Ok(Outcome::Completed) => tally.add("rounds", 1),
            Ok(Outcome::Skipped(why)) => {
                output::answer_text(&format!("{name} {only}: skipped: {why}\n"))?;
                return Ok(true);
            }
            Err(violation) => {
                print_violation(&violation, &format!("torture {name}, {only}, round {number}"));
                eprintln!("  kept: {}", testbed.keep().display());
                eprintln!(
                    "hint: `cargo xtask torture {name} --only {only} --seed {seed} --round {number}` repeats this round"
                );
                return Ok(false);
            }
        }
    }
    let counts: Vec<String> = tally.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let (counts, seconds) = (counts.join(", "), began.elapsed().as_secs_f32());
    output::answer_text(&format!("{name} {only}: {counts}; 0 {}; {seconds:.0} s\n", part.none))?;
    Ok(true)
}

/// Prints a violation as the other commands print errors.
fn print_violation(violation: &anyhow::Error, place: &str) {
    eprintln!("error: {place}: {violation}");
    for cause in violation.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
