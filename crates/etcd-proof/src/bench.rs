//! `bench`: what the README promises, measured. Here: the table. Each bench is in the file of its name.

mod keys;
mod process;
mod sample;
mod start;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use self::sample::Sample;
use etcd_xtask::{Context, Exit, Format, output};

use crate::cli::{Bench, BenchName};

/// What the benches have: the program whose promises are measured, and its workspace.
struct Subject<'a> {
    xtask: &'a Path,
    cx: &'a Context,
}

pub(crate) fn run(args: &Bench, xtask: &Path, cx: &Context) -> Result<Exit> {
    let subject = Subject { xtask, cx };
    let report = match args.name {
        BenchName::Start => start::measure(args.rounds.unwrap_or(15), &subject)?,
        BenchName::Read => keys::read(args.rounds.unwrap_or(3), &subject)?,
        BenchName::Delete => keys::delete(args.rounds.unwrap_or(3), &subject)?,
        BenchName::Watch => keys::watch(args.rounds.unwrap_or(3), &subject)?,
    };
    match args.answer.format {
        Format::Json => output::json(&report)?,
        Format::Text => output::answer_text(&text(&report))?,
    }
    Ok(Exit::SUCCESS)
}

/// One bench's results. `--format json` prints this.
#[derive(Serialize)]
struct Report {
    bench: &'static str,
    /// Processors that this process may use.
    cpus: usize,
    os: &'static str,
    arch: &'static str,
    /// How xtask itself was built.
    profile: &'static str,
    rounds: u32,
    rows: Vec<Row>,
}

impl Report {
    fn new(bench: &'static str, rounds: u32, rows: Vec<Row>) -> Self {
        Self {
            bench,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
            rounds,
            rows,
        }
    }
}

#[derive(Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    ours: Sample,
    /// The other side, where there is one.
    other: Option<Sample>,
    other_name: Option<String>,
    /// Ours through the other's, of the medians.
    ratio: Option<f64>,
    /// The most that the ratio, or else our median, may be.
    target: Option<f64>,
    met: Option<bool>,
}

impl Row {
    fn absolute(what: impl Into<String>, unit: &'static str, ours: Vec<f64>, target: Option<f64>) -> Result<Self> {
        let ours = Sample::of(ours)?;
        let met = target.map(|target| ours.median <= target);
        Ok(Self { what: what.into(), unit, ours, other: None, other_name: None, ratio: None, target, met })
    }

    /// Like [`Row::absolute`], with another side that only stands beside it.
    fn beside(
        what: impl Into<String>,
        unit: &'static str,
        ours: Vec<f64>,
        name: &str,
        other: Vec<f64>,
        target: f64,
    ) -> Result<Self> {
        let other = Sample::of(other)?;
        let row = Self::absolute(what, unit, ours, Some(target))?;
        let ratio = Some(row.ours.median / other.median);
        Ok(Self { other: Some(other), other_name: Some(name.to_owned()), ratio, ..row })
    }

    fn against(
        what: impl Into<String>,
        ours: Vec<f64>,
        name: &str,
        other: Vec<f64>,
        target: Option<f64>,
    ) -> Result<Self> {
        let (ours, other) = (Sample::of(ours)?, Sample::of(other)?);
        let ratio = ours.median / other.median;
        let met = target.map(|target| ratio <= target);
        let (other, other_name, ratio) = (Some(other), Some(name.to_owned()), Some(ratio));
        Ok(Self { what: what.into(), unit: "ms", ours, other, other_name, ratio, target, met })
    }
}

fn text(report: &Report) -> String {
    let Report { bench, cpus, os, arch, profile, rounds, rows } = report;
    let mut text =
        format!("{bench}: {cpus} processors, {os} {arch}, {profile} profile, {rounds} rounds; median (min–max)\n");
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
    for row in rows {
        let ours = format!("{} {}", row.ours, row.unit);
        let other = match (&row.other, &row.other_name) {
            (Some(other), Some(name)) => format!("{name}: {other} {}", row.unit),
            _ => String::new(),
        };
        let ratio = row.ratio.map(|ratio| format!("ratio {ratio:.2}")).unwrap_or_default();
        let target = row.target.map(|target| format!("target {target}")).unwrap_or_default();
        let met = match row.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let line = format!("{:width$}  {ours:28} {other:42} {ratio:11} {target:11} {met}", row.what);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
