//! Every argument and help text of `cargo xtask bench`. Declares; does nothing.

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
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Bench(Bench),
}

/// Measure what the README promises, beside plain etcd, in one run
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask bench start --rounds 9")]
pub(crate) struct Bench {
    /// What to measure
    #[arg(value_enum, default_value_t)]
    pub(crate) name: BenchName,
    /// How often each side runs, in turn [default: 15 for start, 3 for the others]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    /// Starting, restarting, stopping, wiping, describing
    #[default]
    Start,
    /// Reading 1,000,000 keys
    Read,
    /// Deleting 1,000,000 keys while another client writes
    Delete,
    /// Watching 300,000 changes
    Watch,
}
