//! Every argument and help text of `cargo xtask bench` and `torture`. Declares; does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_xtask::{Answer, Global};

/// The proof of what the README promises.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// The program whose promises are tried
    #[arg(long, hide = true)]
    pub(crate) xtask: PathBuf,
    /// The program behind the commands that speak etcd's API, where it is not to be built
    #[arg(long, hide = true)]
    pub(crate) console: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Bench(Bench),
    Torture(Torture),
    #[command(hide = true)]
    Probe(Probe),
    #[command(hide = true)]
    Guard(Guard),
    #[command(hide = true)]
    Writer(Writer),
}

/// Measure what the README promises, beside plain etcd, in one run
///
/// Both sides run in turn. All benches take about ten minutes, and want a machine that does nothing else. What misses
/// its target is shown as missed, and is no failure of this command.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask bench [OPTIONS] [NAME]...",
    after_help = "Examples:\n  cargo xtask bench start --rounds 9\n  cargo xtask bench --quick\n  cargo xtask bench --format json --plot growth.svg > report.json"
)]
pub(crate) struct Bench {
    /// What to measure; all, if nothing is named
    #[arg(value_enum, value_name = "NAME")]
    pub(crate) names: Vec<BenchName>,
    /// How often each side runs, in turn [default: 15 for start, 7 for isolation and store, 3 for the others]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// Smaller sizes and fewer rounds: under two minutes for all
    #[arg(long)]
    pub(crate) quick: bool,
    /// Draw how cost grows, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Measure nothing: show a report that `--format json` printed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "rounds", "quick"])]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    /// Starting, restarting, stopping, wiping, describing
    Start,
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

impl BenchName {
    /// Whether it measures several sizes.
    pub(crate) fn grows(self) -> bool {
        matches!(self, Self::Start | Self::Read | Self::Delete | Self::Isolation)
    }
}

/// Open sandboxes, for `bench isolation`
#[derive(Args, Debug)]
pub(crate) struct Probe {
    #[arg(long)]
    pub(crate) sandboxes: u64,
    /// Write a key in each
    #[arg(long)]
    pub(crate) write: bool,
    /// The server's data, to see whether it grows
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Try to break what the README promises: kills, forgeries, thieves, pauses, and what is true afterwards
///
/// Everything happens in directories and on ports of its own, and nothing of it stays; if it ends at a violation, the
/// directory of that round does. Linux only.
#[derive(Args, Debug)]
#[command(
    override_usage = "cargo xtask torture [OPTIONS] [NAME]",
    after_help = "Examples:\n  cargo xtask torture up --rounds 20\n  cargo xtask torture up --only kills --seed 7 --round 37"
)]
pub(crate) struct Torture {
    /// What to torture [default: all of them]
    #[arg(value_enum)]
    pub(crate) name: Option<TortureName>,
    /// How many rounds of each part [default: as many as the part is known to stand]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rounds: Option<u32>,
    /// What all choices follow from [default: a new one, which is printed]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Only this part, of those that stand behind each NAME
    #[arg(long, value_name = "PART")]
    pub(crate) only: Option<String>,
    /// Only this round, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "rounds", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) round: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TortureName {
    // Behind the colon: its parts.
    /// Starting, stopping, wiping and installing etcd: kills, parallel, thieves, forged, paused, disk, load
    Up,
    /// Test runs, and those who sweep them: killed, stopped
    Runs,
    /// Watches: faults
    Watch,
    /// Deleting, and undoing it: dels, undo-files
    Delete,
}

/// Clean up when stdin ends, as it does when who started this is killed
#[derive(Args, Debug)]
pub(crate) struct Guard {
    /// The directory that goes, with all processes that belong to it
    #[arg(long)]
    pub(crate) dir: PathBuf,
}

/// Write keys below `ETCD_TEST_PREFIX`, as tests do
#[derive(Args, Debug)]
pub(crate) struct Writer {
    /// It works until there is this file, and not longer than a minute
    #[arg(long)]
    pub(crate) until: PathBuf,
    /// How many processes it starts that do the same
    #[arg(long, default_value_t = 0)]
    pub(crate) children: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
