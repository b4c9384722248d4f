//! Every argument and help text of the commands that speak etcd's API. `etcd-xtask` shows them, completes them and
//! refuses what they do not allow, before `etcd-console`, which carries them out, is built. Declares; does nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

// Which cluster, and how long to wait for it: every command takes this.
#[derive(Args, Debug)]
#[expect(missing_docs, reason = "clap would show it in the place of a command's own")]
pub struct Cluster {
    /// A cluster elsewhere instead of the local instance [env: ETCD_ENDPOINTS]
    #[arg(long, global = true, value_name = "URL,…", value_delimiter = ',', conflicts_with = "instance")]
    pub endpoints: Vec<String>,
    /// Which of this workspace's instances [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

// A command, and which cluster it is for.
#[derive(Args, Debug)]
#[expect(missing_docs, reason = "clap would show it in the place of a command's own")]
pub struct OnCluster<A: Args> {
    /// The command's own arguments.
    #[command(flatten)]
    pub command: A,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; keys and values in base64, as etcdctl has them
    Json,
}

/// Which keys: one, a range, or a prefix.
#[derive(Args, Clone, Debug)]
pub struct Keys {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// The end of the range, which is not in it
    #[arg(allow_negative_numbers = true, conflicts_with_all = ["prefix", "from_key"])]
    pub range_end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long)]
    pub prefix: bool,
    /// Every key from KEY on
    #[arg(long, conflicts_with = "prefix")]
    pub from_key: bool,
}

/// Read keys: one, a range, or a prefix
///
/// Reads in pages at one revision, however many there are.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask get /Inventory/v1/ --prefix\n  cargo xtask get low high --keys-only\n  \
                  cargo xtask get key --print-value-only | jq"
)]
pub struct Get {
    /// Which keys.
    #[command(flatten)]
    pub keys: Keys,
    /// Print keys, and no values
    #[arg(long, conflicts_with_all = ["count_only", "print_value_only"])]
    pub keys_only: bool,
    /// Print how many there are
    #[arg(long)]
    pub count_only: bool,
    /// Print values, and no keys; into a pipe or a file byte for byte, each with a newline after it
    #[arg(long, conflicts_with = "count_only")]
    pub print_value_only: bool,
    /// Read as of this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub rev: Option<i64>,
    /// Print at most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print bytes in hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Write one key
///
/// A negative number is a value like any other. What else begins with a dash is an option, unless `--` comes before it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask put /Inventory/v1/Test/greeting hello\n  cargo xtask put key - < file\n  \
                  cargo xtask put copy \"$(cargo xtask get key --print-value-only)\"\n  cargo xtask put key -- --value"
)]
pub struct Put {
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// The value, as it is; `-` reads all of stdin, a newline at its end included
    #[arg(allow_negative_numbers = true)]
    pub value: String,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Delete keys, after showing which, and write them to an undo file first
///
/// Shows the endpoint, the cluster, how many keys there are, the first and the last; asks on a terminal, and
/// needs --yes elsewhere, with --expect-count for more than one key. Keys that change after that survive.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask del /Inventory/v1/racks/7\n  cargo xtask del /Inventory/v1/racks/ --prefix --dry-run"
)]
pub struct Del {
    /// Which keys.
    #[command(flatten)]
    pub keys: Keys,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Delete only if there are exactly so many keys
    #[arg(long, value_name = "N")]
    pub expect_count: Option<u64>,
    /// Delete even all keys, the product's root or a protected prefix; needs --expect-count
    #[arg(long, requires = "expect_count")]
    pub force: bool,
    /// Write no undo file
    #[arg(long)]
    pub no_undo: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Put back what `del` deleted
///
/// Keys that exist again are left as they are, and named. Without FILE, the workspace's newest undo file is shown, and used
/// after asking.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask undo .etcd/undo/20261123T113433Z-….jsonl\n  cargo xtask undo --list\n  cargo xtask undo"
)]
pub struct Undo {
    /// The file that `del` named [default: the newest]
    pub file: Option<PathBuf>,
    /// List the workspace's undo files: when, how many keys, which cluster, which range
    #[arg(long, conflicts_with_all = ["file", "overwrite", "any_cluster", "yes"])]
    pub list: bool,
    /// Do not ask where no FILE is given
    #[arg(short, long)]
    pub yes: bool,
    /// Overwrite keys that changed since
    #[arg(long)]
    pub overwrite: bool,
    /// Put the keys into another cluster than the one that they were in
    #[arg(long)]
    pub any_cluster: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Follow changes; without KEY, all below the product's root
///
/// No change is missed in silence: lost connections are resumed, and where etcd has forgotten, a line says
/// GAP, or RESET if the data was replaced. Ctrl-C ends it. Each line begins with the time at which the change was
/// seen, which is local, in JSON UTC; etcd keeps none, so that what happened before (--rev) is `earlier`, and in JSON
/// `"time":null`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask watch\n  cargo xtask watch /Inventory/v1/racks/ --prefix -n 10 --format json"
)]
pub struct Watch {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub key: Option<String>,
    /// The end of the range, which is not in it
    #[arg(allow_negative_numbers = true, conflicts_with = "prefix")]
    pub range_end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long, requires = "key")]
    pub prefix: bool,
    /// Begin with this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub rev: Option<i64>,
    /// Print keys, and no values
    #[arg(long)]
    pub keys_only: bool,
    /// End after so many changes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print bytes in hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// How to answer on stdout, a change a line
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The cluster's members: `member list`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask member list")]
pub struct Member {
    /// What to do with them.
    #[command(subcommand)]
    pub command: MemberCommand,
}

/// The test runs that there are: alive or dead, their age and keys, and who started them
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask runs")]
pub struct Runs {
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Remove what dead test runs left, and nothing outside the test root
///
/// A run of this machine is dead when none of its processes is left. A run of another machine is dead when its heartbeat
/// was absent for ten times its time to live, which this command waits for. A run that --keep left counts as dead. Keys
/// below the test root that belong to no run are removed only with --unregistered, or after asking on a terminal: a test
/// without a run may be using them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask test-clean --dry-run\n  cargo xtask test-clean --run 20261123T113433Z-…."
)]
pub struct TestClean {
    /// Only this run
    #[arg(long, value_name = "ID", conflicts_with = "unregistered")]
    pub run: Option<String>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove keys that belong to no run, without asking
    #[arg(long)]
    pub unregistered: bool,
    /// Also remove live runs, after asking; their tests fail
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What to do with members
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Show them, as etcdctl does: id, status, name, peer URLs, client URLs, learner
    #[command(after_help = "Example:\n  cargo xtask member list --format json")]
    List {
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}
