//! The command line of this program: the public commands, which etcd-console-cli declares, and hidden commands that only our
//! own programs call. Declarations only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(feature = "browse")]
pub(crate) use etcd_console_cli::Browse;
pub(crate) use etcd_console_cli::{
    Client, Cluster, Del, Diff, Format, Get, History, Keys, KeysFrom, Member, MemberCommand, Put, Revert, Runs,
    Safeguards, TestClean, Undo, Watch,
};
use etcd_sandbox::runs::RunId;
use etcd_workspace::DEFAULT_TEST_ROOT;

/// Read, write, delete and watch keys. The arguments are like etcdctl's.
///
/// In keys that you type and in keys that are printed, `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` stand for bytes, so that a
/// printed key can be pasted back.
#[derive(Debug, Parser)]
#[command(
    name = "etcd-console",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Print only the requested data and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The directory of the workspace's instances
    #[arg(long, hide = true, default_value = ".etcd")]
    pub(crate) home: PathBuf,
    /// The workspace's manifest, which names clusters
    #[arg(long, hide = true, default_value = "Cargo.toml")]
    pub(crate) manifest: PathBuf,
    /// The product's root
    #[arg(long, hide = true)]
    pub(crate) root: Option<String>,
    /// The test root, below the product's root
    #[arg(long, hide = true, default_value = DEFAULT_TEST_ROOT)]
    pub(crate) test_root: String,
    /// Prefixes whose keys are not deleted
    #[arg(long, hide = true)]
    pub(crate) protected: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(Get),
    Put(Put),
    Del(Del),
    Undo(Undo),
    Watch(Watch),
    History(History),
    Diff(Diff),
    Revert(Revert),
    #[cfg(feature = "browse")]
    Browse(Browse),
    Member(Member),
    Runs(Runs),
    TestClean(TestClean),
    #[command(hide = true)]
    Certificates(Certificates),
    #[command(hide = true)]
    CertificateDays(CertificateDays),
    #[command(hide = true)]
    Compact(Compact),
    #[command(hide = true)]
    Users(Users),
    #[command(hide = true)]
    Page(Page),
    #[command(hide = true)]
    Keep(Keep),
    #[command(hide = true)]
    Fill(Fill),
    #[command(hide = true)]
    Load(Load),
}

/// Make the certificates of a local etcd, unless they are there and good
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-up --tls")]
pub(crate) struct Certificates {
    /// Where they are, or will be
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The address that etcd listens at
    #[arg(long)]
    pub(crate) host: std::net::IpAddr,
}

/// Print for how many days a certificate is good, for `doctor`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask doctor")]
pub(crate) struct CertificateDays {
    /// The certificate, in PEM
    pub(crate) file: PathBuf,
}

/// Free space in the databases of an instance's members
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-compact")]
pub(crate) struct Compact {
    /// A client URL of each member
    #[arg(long = "member", required = true)]
    pub(crate) members: Vec<String>,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Create the users of a local etcd that Cargo.toml names, and switch authentication on
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-up --auth")]
pub(crate) struct Users {
    /// The directory of the passwords, one file for each user
    #[arg(long)]
    pub(crate) passwords: PathBuf,
}

/// Keep a run alive, for `test` and `run`, until stdin says how to end it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask run -- CMD")]
pub(crate) struct Keep {
    /// The directory for the run's lock
    #[arg(long)]
    pub(crate) lock_dir: PathBuf,
    /// The command of the run
    #[arg(long, default_value = "")]
    pub(crate) command: String,
    /// The pid of the runner
    #[arg(long)]
    pub(crate) runner: u32,
    /// The time to live of the heartbeat, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) ttl: u64,
    /// How long to retry the sweep if the runner was killed and etcd does not answer, in seconds
    #[arg(long, default_value_t = 30)]
    pub(crate) sweep_timeout: u64,
    /// Whether the run gets a user of its own
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fence: Fence,
    /// Look at its end for changes outside of all runs
    #[arg(long)]
    pub(crate) escapes: bool,
    /// Look at its end for leases and locks that its tests have left
    #[arg(long)]
    pub(crate) leaks: bool,
    /// Count at its end what each sandbox has written, for a report in a directory of the run's id below this one
    #[arg(long)]
    pub(crate) reports: Option<PathBuf>,
    /// Take over this run, whose keeper died
    #[arg(long)]
    pub(crate) adopt: Option<RunId>,
    /// Do not sweep dead runs
    #[arg(long)]
    pub(crate) no_cleaning: bool,
}

/// Draw the report of a test run as a page, for `test --report`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask test --report reports")]
pub(crate) struct Page {
    /// The report's JSON document
    pub(crate) report: PathBuf,
}

/// When a run gets a user of its own
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fence {
    /// Where the cluster has users, and we may create one
    #[default]
    Auto,
    /// Always; an error where that cannot be done
    Always,
    /// Never
    Never,
}

/// Write many keys, for the benches
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask bench read")]
pub(crate) struct Fill {
    #[arg(long)]
    pub(crate) prefix: String,
    #[arg(long)]
    pub(crate) count: u64,
    #[arg(long, default_value_t = 64)]
    pub(crate) value_size: usize,
}

/// Write one key again and again until stdin ends, for the benches
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask bench delete")]
pub(crate) struct Load {
    pub(crate) key: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// A mistyped option must not be taken as a key or a value, and then be written or deleted.
    #[test]
    fn no_argument_takes_an_option_for_its_value() {
        for command in super::Cli::command().get_subcommands() {
            let swallows = |arg: &&clap::Arg| arg.is_allow_hyphen_values_set();
            assert!(command.get_arguments().find(swallows).is_none(), "`{}`", command.get_name());
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in super::Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("cargo xtask "), "`{}` has no example", command.get_name());
        }
    }
}
