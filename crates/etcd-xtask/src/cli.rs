//! All commands, arguments and help texts. Declarations only.

mod runs;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use etcd_console_cli::{Client, OnCluster};
use etcd_local::binary::{Route, Sha256, Wanted};
use etcd_local::{Builder, Port};
use etcd_workspace::{MOST_LEARNERS, TlsScope};

use crate::forwarded::{self, Forwarded};

use self::runs::members;
pub(crate) use self::runs::{Deny, NetworkPolicy, ReportOf, Run, RunTarget, Runner, Test};

/// The purpose of these commands, in a line.
pub(crate) const ABOUT: &str = "A real etcd for development and tests, from nothing but a Rust toolchain.";

/// [`ABOUT`], with the settings and exit codes of all commands.
pub(crate) const LONG_ABOUT: &str = "\
A real etcd for development and tests, from nothing but a Rust toolchain.

Settings, in this order: flags; the environment (ETCDBINPATH, ETCDINSTANCE, ETCDNODEADDR, ETCDPORTCLNT, \
ETCDPORTPEER, ETCDDATA); `[workspace.metadata.etcd]` in Cargo.toml; defaults.

Exit codes: 0 done; 1 failed; 2 wrong arguments or settings; 3 no etcd is running; 4 refused to destroy \
something; 130 interrupted (0 for commands that end only by Ctrl-C). `test`, `run` and `etcdctl` exit with the code of the program that they run.";

/// A command line: of these commands, or of a workspace's own around them.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = ABOUT, long_about = LONG_ABOUT)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli<C: Subcommand = Command> {
    /// Arguments of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: C,
}

/// Arguments that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Print only the requested data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands, to be flattened into a workspace's own.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented where its arguments are")]
pub enum Command {
    EtcdUp(EtcdUp),
    EtcdDown(EtcdDown),
    EtcdRestart(EtcdRestart),
    EtcdReset(EtcdReset),
    EtcdMember(EtcdMember),
    EtcdStatus(EtcdStatus),
    EtcdList(EtcdList),
    EtcdLogs(EtcdLogs),
    EtcdCompact(EtcdCompact),
    EtcdInstall(EtcdInstall),
    Etcdctl(Etcdctl),
    Env(EnvVars),
    Doctor(Doctor),
    Test(Test),
    Run(Run),
    Report(ReportOf),
    Runs(Forwarded<OnCluster<etcd_console_cli::Runs>>),
    TestClean(Forwarded<OnCluster<etcd_console_cli::TestClean>>),
    Get(Forwarded<OnCluster<etcd_console_cli::Get>>),
    Put(Forwarded<OnCluster<etcd_console_cli::Put>>),
    Del(Forwarded<OnCluster<etcd_console_cli::Del>>),
    Undo(Forwarded<OnCluster<etcd_console_cli::Undo>>),
    Watch(Forwarded<OnCluster<etcd_console_cli::Watch>>),
    History(Forwarded<OnCluster<etcd_console_cli::History>>),
    Diff(Forwarded<OnCluster<etcd_console_cli::Diff>>),
    Revert(Forwarded<OnCluster<etcd_console_cli::Revert>>),
    Browse(Forwarded<OnCluster<etcd_console_cli::Browse>>),
    Member(Forwarded<OnCluster<etcd_console_cli::Member>>),
    Completions(Completions),
}

impl Command {
    /// The instance that the command acts on.
    pub(crate) fn which(&self) -> Which {
        match self {
            Self::EtcdUp(EtcdUp { which, .. })
            | Self::EtcdDown(EtcdDown { which, .. })
            | Self::EtcdRestart(EtcdRestart { which, .. })
            | Self::EtcdReset(EtcdReset { which, .. })
            | Self::EtcdMember(EtcdMember { which, .. })
            | Self::EtcdStatus(EtcdStatus { which, .. })
            | Self::EtcdLogs(EtcdLogs { which, .. })
            | Self::EtcdCompact(EtcdCompact { which, .. }) => which.clone(),
            Self::Etcdctl(Etcdctl { instance, .. }) | Self::Env(EnvVars { instance, .. }) => {
                Which::named(instance.as_deref())
            }
            Self::Test(Test { target, .. }) | Self::Run(Run { target, .. }) => Which::named(target.instance.as_deref()),
            Self::Runs(Forwarded { args, .. })
            | Self::TestClean(Forwarded { args, .. })
            | Self::Get(Forwarded { args, .. })
            | Self::Put(Forwarded { args, .. })
            | Self::Del(Forwarded { args, .. })
            | Self::Undo(Forwarded { args, .. })
            | Self::Watch(Forwarded { args, .. })
            | Self::History(Forwarded { args, .. })
            | Self::Diff(Forwarded { args, .. })
            | Self::Revert(Forwarded { args, .. })
            | Self::Browse(Forwarded { args, .. })
            | Self::Member(Forwarded { args, .. }) => Which::named(forwarded::flag(args, "--instance")),
            _ => Which::named(None),
        }
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// Which of this workspace's instances
    #[arg(long, value_name = "NAME", default_value = Which::DEFAULT)]
    pub(crate) instance: String,
}

impl Which {
    /// The instance that is used if none is named.
    pub(crate) const DEFAULT: &str = etcd_local::DEFAULT_INSTANCE;

    /// The instance that a flag names, else the default.
    pub(crate) fn named(instance: Option<&str>) -> Self {
        Self { instance: instance.unwrap_or(Self::DEFAULT).to_owned() }
    }

    /// The flag that selects the instance, with a space before it; empty for the default.
    pub(crate) fn flag(&self) -> String {
        if self.instance == Self::DEFAULT { String::new() } else { format!(" --instance {}", self.instance) }
    }

    /// A command line that acts on this instance, for hints. It must never act on another instance.
    pub(crate) fn command(&self, words: &str) -> String {
        format!("`cargo xtask {words}{}`", self.flag())
    }
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// How to answer: text or JSON.
#[derive(Args, Clone, Copy, Debug)]
pub struct Answer {
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Start etcd, install it first if necessary, and return when it is ready
///
/// The server runs in the background: it stays when this command or the terminal ends, and its data stays when the server
/// ends. If it already runs, the command says so and succeeds; with --foreground that is an error. Of several members, those that do
/// not run are started, those whose data is gone are replaced, and those that run with another etcd than --etcd are upgraded one by
/// one.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask etcd-up --instance scratch --etcd 3.6.7\n  cargo xtask etcd-up --instance three --members 3"
)]
pub struct EtcdUp {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) start: Start,
    /// How many members a new instance has, each with its own process and data [default: 1]
    #[arg(long, value_name = "N", value_parser = members())]
    pub(crate) members: Option<usize>,
    /// How many learners a new instance has beside them: they get all keys, do not vote, and are none of the endpoints
    /// [default: `learners` in Cargo.toml, else 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=i64::from(MOST_LEARNERS)))]
    pub(crate) learners: Option<u8>,
    /// Show the log until Ctrl-C, then stop the server
    #[arg(long, conflicts_with_all = ["members", "learners"])]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// How to start an instance.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// The port for clients [default: 2379 for the instance `default`, else any free port]
    #[arg(long, value_name = "N|auto")]
    pub(crate) port: Option<Port>,
    /// The port for other members [default: 2380 with client port 2379, else any free port]
    #[arg(long, value_name = "N|auto")]
    pub(crate) peer_port: Option<Port>,
    /// The data directory [default: .etcd/NAME/data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Which etcd: a version like 3.6.7 or 3.6, a requirement like ^3.6 (3.6 or later), or a path
    #[arg(long, value_name = "VERSION|PATH")]
    pub(crate) etcd: Option<Wanted>,
    /// Have clients speak TLS, or with `peer` the servers among each other, or with `all` both. The certificates, also those
    /// for clients, are in .etcd/NAME/tls
    #[arg(long, value_name = "client|peer|all", num_args = 0..=1, default_missing_value = "client")]
    pub(crate) tls: Option<TlsScope>,
    /// Switch authentication on. The passwords of `root`, and of the users in Cargo.toml, are in .etcd/NAME/passwords
    #[arg(long)]
    pub(crate) auth: bool,
    /// How long the start may take; longer with much data on a slow disk [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Do not use the network
    #[arg(long)]
    pub(crate) offline: bool,
}

impl Start {
    /// Whether the network may be used.
    pub(crate) fn network(&self) -> NetworkPolicy {
        NetworkPolicy::of(self.offline)
    }

    /// The flags beat what the builder has from the environment and Cargo.toml.
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        let mut builder = builder.offline(self.offline);
        if let Some(port) = self.port {
            builder = builder.port(port);
        }
        if let Some(port) = self.peer_port {
            builder = builder.peer_port(port);
        }
        if let Some(dir) = &self.data_dir {
            builder = builder.data_dir(dir);
        }
        if let Some(wanted) = &self.etcd {
            builder = builder.etcd(wanted.clone());
        }
        if let Some(seconds) = self.timeout {
            builder = builder.start_timeout(Duration::from_secs(seconds));
        }
        builder
    }
}

/// Stop etcd; its data stays
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask etcd-down\n  cargo xtask etcd-down --all")]
pub struct EtcdDown {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Stop every instance of this workspace, also after one that cannot be stopped
    #[arg(long, conflicts_with = "instance")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Stop etcd and start it again; its data stays
///
/// It keeps its program, ports and data directory, unless a flag, a variable or Cargo.toml names others; of Cargo.toml only
/// ports and data directory count. If it is not running, it is started.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-restart --etcd 3.7")]
pub struct EtcdRestart {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) start: Start,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Stop etcd, delete its data, and start it again if it was running
///
/// Deletes only a data directory that `etcd-up` created for this instance.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-reset --yes")]
pub struct EtcdReset {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Stop, start, restart, replace or recover one of several members
///
/// The other members go on. An instance of several members is created by `etcd-up --members 3`; `etcd-status` names them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask etcd-member stop m2\n  cargo xtask etcd-member restart m1 --instance three"
)]
pub struct EtcdMember {
    /// What to do
    #[arg(value_enum)]
    pub(crate) action: MemberAction,
    /// The member, like m1
    #[arg(value_name = "NAME")]
    pub(crate) member: String,
    /// Do not ask before `recover`
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MemberAction {
    /// End its process; its data stays
    Stop,
    /// Start it on the data that it has
    Start,
    /// Stop it, then start it
    Restart,
    /// Delete its data, and have it join the cluster anew: it gets all keys from the other members
    Replace,
    /// Go on with the keys that it has, if the data of most members is gone: what only the others had is lost
    Recover,
}

/// Describe an instance; exits 3 if it is not running
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-status --format json")]
pub struct EtcdStatus {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// List the instances of this workspace: name, state, version, size on disk, endpoints, data directory
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-list")]
pub struct EtcdList {
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Show the server's log: time, level, message and fields
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-logs -f -n 20")]
pub struct EtcdLogs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Which of several members, as `etcd-status` names them [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) member: Option<String>,
    /// Print new lines as they are written, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last lines to print first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
    /// How to print the log: readable, or as etcd writes it, one JSON object per line
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Free space in the database, and end the alarm NOSPACE
///
/// Keys keep their values. Deleted and overwritten values are dropped: `get --rev` and `watch --rev` of older revisions fail.
/// During this, the server does not answer. Instances drop history older than 4 hours by themselves, but the file shrinks
/// only with this command. For a cluster elsewhere use etcdctl's `compact`, `defrag` and `alarm disarm`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcd-compact")]
pub struct EtcdCompact {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Install an etcd into this user's cache, or list the installed versions
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask etcd-install 3.6.7\n  cargo xtask etcd-install --list")]
pub struct EtcdInstall {
    /// The version, like 3.6.7, or 3.6 for the newest 3.6 [default: the newest that this workspace accepts]
    pub(crate) version: Option<Wanted>,
    /// The source of the program
    #[arg(long, value_name = "auto|path|registry|release|source", default_value = "auto")]
    pub(crate) from: Route,
    /// The SHA-256 of the download, for a version that this tool does not know
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<Sha256>,
    /// List the installed versions, and those that can be installed
    #[arg(long, conflicts_with_all = ["version", "sha256"])]
    pub(crate) list: bool,
    /// Do not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Run a real etcdctl on the instance
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask etcdctl -- endpoint status -w table")]
pub struct Etcdctl {
    /// Which of this workspace's instances; overrides ETCDCTL_ENDPOINTS [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// A cluster that `[workspace.metadata.etcd.clusters]` in Cargo.toml names
    #[arg(long, value_name = "NAME", conflicts_with = "instance")]
    pub(crate) cluster: Option<String>,
    /// Arguments of etcdctl. Write `--` before them if one is also an option of this command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<std::ffi::OsString>,
}

/// Print environment variables for the instance, or for a cluster elsewhere, for a shell to evaluate
#[derive(Args, Debug)]
#[command(
    name = "env",
    after_help = "Examples:\n  eval \"$(cargo xtask env)\"\n  cargo xtask env --shell powershell | Invoke-Expression"
)]
pub struct EnvVars {
    /// Which of this workspace's instances [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    #[command(flatten)]
    pub(crate) client: Box<Client>,
    /// The shell [default: sh, on Windows powershell]
    #[arg(long, value_enum)]
    pub(crate) shell: Option<Dialect>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// sh, bash, zsh
    Sh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// Windows' cmd
    Cmd,
}

/// Check this machine for common problems, and say how to solve them
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask doctor")]
pub struct Doctor {
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// Print completions for a shell
///
/// Completes commands, options, names of instances, and keys if an etcd is running. The completions are for the word
/// `xtask`: use them with `alias xtask='cargo xtask'` (in zsh with `setopt complete_aliases`).
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask completions bash > ~/.local/share/bash-completion/completions/xtask")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}
