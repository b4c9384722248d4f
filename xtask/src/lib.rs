//! Every argument and help text of `cargo xtask bench` and `torture`, which `etcd-proof` carries out: here, so that they
//! are at hand before that is built. Declares; does nothing.

use clap::{Args, ValueEnum};
use etcd_xtask::Answer;

/// Measure what the README promises, beside plain etcd, in one run
///
/// Both sides run in turn. All benches take about ten minutes, and need a machine that does nothing else. A missed
/// target is shown as missed, and is not a failure of this command.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask bench [OPTIONS] [NAME]...",
    after_help = "Examples:\n  cargo xtask bench start --rounds 9\n  cargo xtask bench --quick\n  cargo xtask bench --format json > report.json"
)]
pub struct Bench {
    /// What to measure; all, if nothing is named
    #[arg(value_enum, value_name = "NAME")]
    pub names: Vec<BenchName>,
    /// How often each side runs, in turn [default: 15 for start, 11 for cluster, 7 for isolation and store, 3 for the others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// Smaller sizes and fewer rounds: under two minutes for all
    #[arg(long)]
    pub quick: bool,
    /// Text or JSON.
    #[command(flatten)]
    pub answer: Answer,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchName {
    /// Starting, restarting, stopping, wiping, describing
    Start,
    /// Starting clusters of three and five members, and losing a leader
    Cluster,
    /// Reading 1,000,000 keys
    Read,
    /// Deleting 1,000,000 keys while another client writes
    Delete,
    /// Watching 300,000 changes
    Watch,
    /// A sandbox for a test, and `cargo xtask test` as a whole
    Isolation,
    /// Cloud Chamber's store, on 10,000 records
    Store,
}

/// Try to break what the README promises: kills, forged state, taken ports, pauses
///
/// Compares what the commands say with what is true. Everything happens in private directories and on free ports, and
/// is removed at the end; after a violation, the directory of that round stays. Linux only.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask torture [OPTIONS] [NAME]",
    after_help = "Examples:\n  cargo xtask torture up --rounds 20\n  cargo xtask torture up --only kills --seed 7 --round 37"
)]
pub struct Torture {
    /// What to torture [default: all of them]
    #[arg(value_enum)]
    pub name: Option<TortureName>,
    /// How many rounds of each part [default: depends on the part]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: Option<u32>,
    /// The seed of all random choices [default: a new one, which is printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only this part of NAME
    #[arg(long, value_name = "PART")]
    pub only: Option<String>,
    /// Only this round, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "rounds", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub round: Option<u32>,
}

/// What `torture` tries to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TortureName {
    // Behind the colon: its parts.
    /// Starting, stopping, wiping and installing etcd: kills, parallel, ports, forged, paused, disk, load
    Up,
    /// Test runs, and their sweepers: killed, stopped
    Runs,
    /// Watches: faults
    Watch,
    /// Deleting, and undoing it: dels, undo-files
    Delete,
    /// A client of a cluster whose members fail: faults
    Cluster,
}
