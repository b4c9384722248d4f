//! This workspace's own arguments, beside those of the commands that it mounts. Declares; does nothing.

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_xtask::{ABOUT, Answer, Global, LONG_ABOUT};

#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = ABOUT, long_about = LONG_ABOUT)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Etcd(etcd_xtask::Command),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in super::Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("cargo xtask "), "`{}` has no example", command.get_name());
            assert!(command.get_about().is_some(), "`{}` has no description", command.get_name());
        }
    }
}
