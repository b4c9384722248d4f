//! The command line of this program: `bench` and `torture`, which xtask declares, and hidden commands that only our own
//! programs call. Declares; does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use etcd_xtask::Global;
pub(crate) use xtask::{Bench, BenchName, Torture, TortureName};

/// The proof of what the README promises.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// The program to measure or torture
    #[arg(long, hide = true)]
    pub(crate) xtask: PathBuf,
    /// The program for commands that speak etcd's API
    #[arg(long, hide = true, default_value = "-")]
    pub(crate) console: PathBuf,
    /// The program for `browse`
    #[arg(long, hide = true)]
    pub(crate) browse: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Bench(Bench),
    Torture(Torture),
    #[command(hide = true)]
    Probe(ProbeArgs),
    #[command(hide = true)]
    Guard(GuardArgs),
    #[command(hide = true)]
    Writer(WriterArgs),
}

/// Open sandboxes, for `bench isolation`
#[derive(Args, Debug)]
pub(crate) struct ProbeArgs {
    #[arg(long)]
    pub(crate) sandboxes: u64,
    /// Write a key in each sandbox
    #[arg(long)]
    pub(crate) write: bool,
    /// Also let a test fail that made so many changes
    #[arg(long)]
    pub(crate) failing_changes: Option<u64>,
    /// Also measure the end of a run that has made so many changes
    #[arg(long)]
    pub(crate) searched_changes: Option<u64>,
    /// The server's data, to see whether it grows
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Clean up when stdin ends, as it does when the parent process is killed
#[derive(Args, Debug)]
pub(crate) struct GuardArgs {
    /// The directory to remove, with all processes that belong to it
    #[arg(long)]
    pub(crate) dir: PathBuf,
}

/// Write keys below `ETCD_TEST_PREFIX`, as tests do
#[derive(Args, Debug)]
pub(crate) struct WriterArgs {
    /// Write until this file exists, and at most a minute
    #[arg(long)]
    pub(crate) until: PathBuf,
    /// How many child processes do the same
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
