//! Every argument and help text of the commands that speak etcd's API. Declares; does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcd_sandbox::RunId;

/// Read, write, delete and watch keys. Arguments have the shape that etcdctl's have.
///
/// Keys are printed so that any byte is readable, and can be pasted back: `\n`, `\t`, `\r`, `\0`, `\\` and
/// `\xNN` stand for bytes in keys that you type, too.
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

#[derive(Args, Debug)]
pub(crate) struct Global {
    /// A cluster elsewhere instead of the local instance [env: ETCD_ENDPOINTS]
    #[arg(long, global = true, value_name = "URL,…", value_delimiter = ',', conflicts_with = "instance")]
    pub(crate) endpoints: Vec<String>,
    /// Which of this workspace's instances [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Say only what was asked for, and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Seconds to wait for an answer
    #[arg(long, global = true, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// The directory of the workspace's instances
    #[arg(long, hide = true, default_value = ".etcd")]
    pub(crate) home: PathBuf,
    /// The product's root
    #[arg(long, hide = true, default_value = "/CloudChamber/v0.1")]
    pub(crate) root: String,
    /// The test root, below the product's root
    #[arg(long, hide = true, default_value = "Test")]
    pub(crate) test_root: String,
    /// Prefixes that nothing is deleted below
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
    Member(Member),
    Runs(Runs),
    TestClean(TestClean),
    #[command(hide = true)]
    Keep(Keep),
    #[command(hide = true)]
    Fill(Fill),
    #[command(hide = true)]
    Load(Load),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; keys and values in base64, as etcdctl has them
    Json,
}

/// Which keys: one, a range, or a prefix.
#[derive(Args, Clone, Debug)]
pub(crate) struct Keys {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: String,
    /// The end of the range, which is not in it
    #[arg(allow_negative_numbers = true, conflicts_with_all = ["prefix", "from_key"])]
    pub(crate) range_end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Every key from KEY on
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) from_key: bool,
}

/// Read keys: one, a range, or a prefix
///
/// Reads in pages at one revision, however many there are.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask get /CloudChamber/v0.1/ --prefix\n  cargo xtask get low high --keys-only\n  \
                  cargo xtask get key --print-value-only | jq"
)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Print keys, and no values
    #[arg(long, conflicts_with_all = ["count_only", "print_value_only"])]
    pub(crate) keys_only: bool,
    /// Print how many there are
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Print values, and no keys; into a pipe or a file byte for byte, each with a newline after it
    #[arg(long, conflicts_with = "count_only")]
    pub(crate) print_value_only: bool,
    /// Read as of this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) rev: Option<i64>,
    /// Print at most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print bytes in hexadecimal
    #[arg(long)]
    pub(crate) hex: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Write one key
///
/// A negative number is a value like any other. What else begins with a dash is an option, unless `--` comes before it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask put /CloudChamber/v0.1/Test/greeting hello\n  cargo xtask put key - < file\n  \
                  cargo xtask put copy \"$(cargo xtask get key --print-value-only)\"\n  cargo xtask put key -- --value"
)]
pub(crate) struct Put {
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: String,
    /// The value, as it is; `-` reads all of stdin, a newline at its end included
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: String,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Delete keys, after showing which, and write them to an undo file first
///
/// Shows the endpoint, the cluster, how many keys there are, the first and the last; asks on a terminal, and
/// needs --yes elsewhere, with --expect-count for more than one key. Keys that change after that survive.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask del /CloudChamber/v0.1/racks/7\n  cargo xtask del /CloudChamber/v0.1/racks/ --prefix --dry-run"
)]
pub(crate) struct Del {
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Delete only if there are exactly so many keys
    #[arg(long, value_name = "N")]
    pub(crate) expect_count: Option<u64>,
    /// Delete even all keys, the product's root or a protected prefix; needs --expect-count
    #[arg(long, requires = "expect_count")]
    pub(crate) force: bool,
    /// Write no undo file
    #[arg(long)]
    pub(crate) no_undo: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Put back what `del` deleted
///
/// Keys that exist again are left as they are, and named.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask undo .etcd/undo/20261123T113433Z-….jsonl")]
pub(crate) struct Undo {
    /// The file that `del` named
    pub(crate) file: PathBuf,
    /// Overwrite keys that changed since
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Put the keys into another cluster than the one that they were in
    #[arg(long)]
    pub(crate) any_cluster: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Follow changes; without KEY, all below the product's root
///
/// No change is missed in silence: lost connections are resumed, and where etcd has forgotten, a line says
/// GAP, or RESET if the data was replaced. Ctrl-C ends it. Each line begins with the time at which the change was
/// seen; etcd keeps none, so that what happened before (--rev) is `earlier`, and in JSON `"time":null`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask watch\n  cargo xtask watch /CloudChamber/v0.1/racks/ --prefix -n 10 --format json"
)]
pub(crate) struct Watch {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: Option<String>,
    /// The end of the range, which is not in it
    #[arg(allow_negative_numbers = true, conflicts_with = "prefix")]
    pub(crate) range_end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long, requires = "key")]
    pub(crate) prefix: bool,
    /// Begin with this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) rev: Option<i64>,
    /// Print keys, and no values
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// End after so many changes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print bytes in hexadecimal
    #[arg(long)]
    pub(crate) hex: bool,
    /// How to answer on stdout, a change a line
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// The cluster's members
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask member list")]
pub(crate) struct Member {
    #[command(subcommand)]
    pub(crate) command: MemberCommand,
}

/// The test runs that there are: alive or dead, their age and keys, and who started them
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask runs")]
pub(crate) struct Runs {
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Remove what dead test runs left, and nothing outside the test root
///
/// A run is dead when no process of it is left on this machine, or, if it is of another, when it gave no sign of life
/// for ten times as long as it may be silent, which is watched for. One that --keep left is as good as dead. Keys below
/// the test root that belong to no run go, too, if this is the workspace's own instance.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask test-clean --dry-run\n  cargo xtask test-clean --run 20261123T113433Z-…."
)]
pub(crate) struct TestClean {
    /// Only this run
    #[arg(long, value_name = "ID", conflicts_with = "unregistered")]
    pub(crate) run: Option<RunId>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Remove what belongs to no run, also where the etcd is not the workspace's own
    #[arg(long)]
    pub(crate) unregistered: bool,
    /// Remove live runs, too, after asking; their tests fail
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Keep a run alive, for `test` and `run`, until stdin says how it ends
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask run -- CMD")]
pub(crate) struct Keep {
    /// Where the run's lock is to be
    #[arg(long)]
    pub(crate) lock_dir: PathBuf,
    /// What runs
    #[arg(long, default_value = "")]
    pub(crate) command: String,
    /// The process that runs it
    #[arg(long)]
    pub(crate) runner: u32,
    /// How long the run counts as alive without a sign of life, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) ttl: u64,
    /// How long to try to sweep a run whose runner was killed while etcd does not answer, in seconds
    #[arg(long, default_value_t = 30)]
    pub(crate) patience: u64,
    /// Go on with this run, whose keeper died
    #[arg(long)]
    pub(crate) adopt: Option<RunId>,
    /// Leave alone what dead runs left
    #[arg(long)]
    pub(crate) no_cleaning: bool,
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
    #[arg(long)]
    pub(crate) key: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Show them, as etcdctl does: id, status, name, peer URLs, client URLs, learner
    #[command(after_help = "Example:\n  cargo xtask member list --format json")]
    List {
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// A mistyped option that becomes a key or a value is written, or deletes.
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
