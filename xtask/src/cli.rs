//! This workspace's own arguments, beside those of the commands that it mounts. Declares; does nothing.

use clap::{Args, Subcommand};
use etcd_xtask::Forwarded;
use xtask::{Bench, Torture};

/// The command line.
pub(crate) type Cli = etcd_xtask::Cli<Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Etcd(etcd_xtask::Command),
    Bench(Forwarded<Bench>),
    Torture(Forwarded<Torture>),
    /// Run what CI runs: format, lints, documentation, tests
    ///
    /// On Linux also runs the tests that depend on the environment, in other environments. Stops at the first step that fails.
    #[command(after_help = "Example:\n  cargo xtask ci")]
    Ci,
    Init(Init),
}

/// Add these commands to the Rust workspace of the current directory
///
/// Writes an `xtask` package, the alias for it, the settings in Cargo.toml and a CI job. Adds lines to existing files, and changes
/// no existing line. Prints what it cannot add safely.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  cargo run --manifest-path ../cloud-chamber/xtask/Cargo.toml -- init --root /my-product/v1"
)]
pub(crate) struct Init {
    /// The prefix of all keys of your product, like /my-product/v1
    #[arg(long, value_name = "KEY")]
    pub(crate) root: String,
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
            assert!(help.contains("  cargo "), "`{}` has no example", command.get_name());
            assert!(command.get_about().is_some(), "`{}` has no description", command.get_name());
        }
    }
}
