//! This workspace's own arguments, beside those of the commands that it mounts. Declares; does nothing.

use clap::Subcommand;
use etcd_xtask::Forwarded;
use xtask::{Bench, Torture};

/// The whole command line.
pub(crate) type Cli = etcd_xtask::Cli<Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Etcd(etcd_xtask::Command),
    Bench(Forwarded<Bench>),
    Torture(Forwarded<Torture>),
    /// Run what CI runs: format, lints, documentation, tests
    ///
    /// On Linux also the tests that a machine could disturb, in other environments. Ends at the first step that fails.
    #[command(after_help = "Example:\n  cargo xtask ci")]
    Ci,
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
