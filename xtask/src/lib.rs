//! Every argument and help text of `cargo xtask bench` and `torture`, which `etcd-proof` carries out: here, so that they
//! are at hand before that is built. Declares; does nothing.

use clap::{Args, ValueEnum};
use etcd_xtask::Answer;

/// Measure what the README promises, and compare it with plain etcd
///
/// Both sides run in turn. All benches take about ten minutes, and need an otherwise idle machine. A missed target is shown, but
/// the command does not fail.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask bench [OPTIONS] [NAME]...",
    after_help = "Examples:\n  cargo xtask bench start --rounds 9\n  cargo xtask bench --quick\n  cargo xtask bench --format json > report.json"
)]
pub struct Bench {
    /// What to measure [default: everything]
    #[arg(value_enum, value_name = "NAME")]
    pub names: Vec<BenchName>,
    /// How often each side runs, in turn [default: 15 for start, 11 for cluster, 7 for browse, isolation and store, 3 for the others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// Use smaller sizes and fewer rounds: less than two minutes for everything
    #[arg(long)]
    pub quick: bool,
    /// Text or JSON.
    #[command(flatten)]
    pub answer: Answer,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchName {
    /// Start, restart, stop, reset and status
    Start,
    /// Starting clusters of three and five members, and losing a leader
    Cluster,
    /// Reading 1,000,000 keys
    Read,
    /// The first screen of `browse` with 1,000,000 keys, and its memory. Linux only
    Browse,
    /// Deleting 1,000,000 keys while another client writes
    Delete,
    /// Watching 300,000 changes
    Watch,
    /// A sandbox for a test, and `cargo xtask test` as a whole
    Isolation,
    /// Cloud Chamber's store, on 10,000 records
    Store,
}

/// Try to break what the README promises: kills, forged files, taken ports, pauses
///
/// Checks that the commands report the truth. Everything happens in private directories and on free ports, and is removed at
/// the end. After a violation, the directory of that round is kept. Linux only.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask torture [OPTIONS] [NAME]",
    after_help = "Examples:\n  cargo xtask torture up --rounds 20\n  cargo xtask torture up --only kills --seed 7 --round 37"
)]
pub struct Torture {
    /// What to torture [default: everything]
    #[arg(value_enum)]
    pub name: Option<TortureName>,
    /// How many rounds of each part [default: depends on the part]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: Option<u32>,
    /// The seed of all random choices [default: a new one, which is printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run only this part of NAME
    #[arg(long, value_name = "PART")]
    pub only: Option<String>,
    /// Run only this round, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "rounds", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub round: Option<u32>,
}

/// What `torture` tries to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TortureName {
    // Behind the colon: its parts.
    /// Starting, stopping, wiping and installing etcd: kills, parallel, ports, forged, paused, disk, load
    Up,
    /// Test runs and their cleaning: killed, stopped
    Runs,
    /// Watches: faults
    Watch,
    /// Deletes and undo files: dels, undo-files
    Delete,
    /// A client of a cluster whose members fail: faults
    Cluster,
}
