//! This workspace's own arguments, beside those of the commands that it mounts. Declares; does nothing.

use clap::Subcommand;
use etcd_xtask::Forwarded;

/// The whole command line.
pub(crate) type Cli = etcd_xtask::Cli<Command>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Etcd(etcd_xtask::Command),
    /// Measure what the README promises, beside plain etcd, in one run
    #[command(disable_help_flag = true, after_help = "Example:\n  cargo xtask bench start --rounds 9")]
    Bench(Forwarded),
    /// Try to break what the README promises: kills, forgeries, thieves, pauses
    #[command(disable_help_flag = true, after_help = "Example:\n  cargo xtask torture up --rounds 20")]
    Torture(Forwarded),
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
