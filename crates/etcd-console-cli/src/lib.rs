//! The arguments and help texts of the commands that use etcd's API. `etcd-console` runs these commands. `etcd-xtask` uses
//! the declarations for help, completion and checks, which work before `etcd-console` is built. Declarations only.

mod browse;
mod keys_from;
mod revert;
mod revisions;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use etcd_workspace::{ClientConfig, ClientConfigError, Password};

pub use self::browse::Browse;
pub use self::keys_from::KeysFrom;
pub use self::revert::Revert;
pub use self::revisions::Revisions;

// The cluster and the timeout: arguments of every command.
#[derive(Args, Clone, Debug)]
#[expect(missing_docs, reason = "clap would show it in the place of a command's own")]
pub struct Cluster {
    /// The cluster, if it is not the local instance, and the user.
    #[command(flatten)]
    pub client: Client,
    /// Which of this workspace's instances [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

// A cluster elsewhere, TLS, and the user. Flags and variables are those of etcdctl.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster elsewhere, TLS, user")]
#[expect(missing_docs, reason = "clap would show it in the place of a command's own")]
pub struct Client {
    /// A cluster elsewhere instead of the local instance [env: ETCD_ENDPOINTS]
    #[arg(long, global = true, value_name = "URL,…", value_delimiter = ',', conflicts_with = "instance")]
    pub endpoints: Vec<String>,
    /// A cluster that `[workspace.metadata.etcd.clusters]` in Cargo.toml names
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["instance", "endpoints"])]
    pub cluster: Option<String>,
    /// Trust the CA certificates in this file instead of the system's [env: ETCDCTL_CACERT]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub cacert: Option<PathBuf>,
    /// Show the server this client certificate [env: ETCDCTL_CERT]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub cert: Option<PathBuf>,
    /// The key of the client certificate [env: ETCDCTL_KEY]
    #[arg(long = "key", id = "client_key", global = true, value_name = "FILE", hide_short_help = true)]
    pub client_key: Option<PathBuf>,
    /// Do not check the server's certificate: others can read and change everything
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// The user of etcd [env: ETCDCTL_USER]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// The user's password; others see it in the list of processes [env: ETCDCTL_PASSWORD]
    #[arg(long, global = true, value_name = "TEXT", hide_short_help = true, conflicts_with = "password_file")]
    pub password: Option<String>,
    /// A file with the user's password
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub password_file: Option<PathBuf>,
}

impl Client {
    /// What the flags say, as a value.
    ///
    /// # Errors
    /// If the file with the password cannot be read.
    pub fn config(&self) -> Result<ClientConfig, ClientConfigError> {
        let from_file = self.password_file.as_deref().map(Password::from_file).transpose()?;
        let config = ClientConfig {
            endpoints: self.endpoints.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.client_key.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            user: None,
            password: None,
        };
        let config = config.with_user(self.user.clone());
        let password = self.password.clone().map(Password::new).or(from_file).or(config.password.clone());
        Ok(ClientConfig { password, ..config })
    }

    /// The flags that lead another command to the same cluster, each with its value. Without the password.
    #[must_use]
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let endpoints = Some(self.endpoints.join(",")).filter(|urls| !urls.is_empty());
        let flags = [
            ("--endpoints", endpoints),
            ("--cluster", self.cluster.clone()),
            ("--cacert", shown(&self.cacert)),
            ("--cert", shown(&self.cert)),
            ("--key", shown(&self.client_key)),
            ("--user", self.user.as_deref().map(|user| user.split(':').next().unwrap_or_default().to_owned())),
            ("--password-file", shown(&self.password_file)),
        ];
        let mut flags: Vec<_> = flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        flags.extend(self.insecure_skip_tls_verify.then(|| ("--insecure-skip-tls-verify", String::new())));
        flags
    }
}

// A command and its cluster.
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
    /// For programs; keys and values in base64, as in etcdctl
    Json,
}

/// The keys: one, a range, or a prefix.
#[derive(Args, Clone, Debug)]
pub struct Keys {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// The end of the range (not included)
    #[arg(allow_negative_numbers = true, conflicts_with_all = ["prefix", "from_key"])]
    pub range_end: Option<String>,
    /// All keys that begin with KEY
    #[arg(long)]
    pub prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with = "prefix")]
    pub from_key: bool,
}

/// Read keys: one, a range, or a prefix
///
/// Reads any number of keys, in pages, at one revision.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask get /Inventory/v1/ --prefix\n  cargo xtask get low high --keys-only\n  \
                  cargo xtask get key --print-value-only | jq"
)]
pub struct Get {
    /// The keys.
    #[command(flatten)]
    pub keys: Keys,
    /// Print only keys
    #[arg(long, conflicts_with_all = ["count_only", "print_value_only"])]
    pub keys_only: bool,
    /// Print only the number of keys
    #[arg(long)]
    pub count_only: bool,
    /// Print only values. Into a pipe or a file: byte for byte, each followed by a newline
    #[arg(long, conflicts_with = "count_only")]
    pub print_value_only: bool,
    /// Read at this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub rev: Option<i64>,
    /// Print at most N keys
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
/// A value may be a negative number. Write `--` before any other value that begins with a dash.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask put /Inventory/v1/Test/greeting hello\n  cargo xtask put key - < file\n  \
                  cargo xtask put copy \"$(cargo xtask get key --print-value-only)\"\n  cargo xtask put key -- --value"
)]
pub struct Put {
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub key: String,
    /// The value; `-` reads it from stdin, with the newline at its end if there is one
    #[arg(allow_negative_numbers = true)]
    pub value: String,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Delete keys, after a preview and with an undo file
///
/// Shows the endpoint, the cluster, the number of keys, and the first and last keys. On a terminal it asks before it
/// deletes. Elsewhere it needs --yes, and --expect-count for more than one key. Keys that change after the preview stay.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask del /Inventory/v1/racks/7\n  cargo xtask del /Inventory/v1/racks/ --prefix --dry-run"
)]
pub struct Del {
    /// The keys.
    #[command(flatten)]
    pub keys: Keys,
    /// What confirms it.
    #[command(flatten)]
    pub safeguards: Safeguards,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What confirms a change of many keys.
#[derive(Args, Debug, Default)]
pub struct Safeguards {
    /// Only show which keys would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Go on only if exactly N keys would be changed
    #[arg(long, value_name = "N")]
    pub expect_count: Option<u64>,
    /// Allow all keys, the product's root and protected prefixes, too; needs --expect-count
    #[arg(long, requires = "expect_count")]
    pub force: bool,
    /// Write no undo file
    #[arg(long)]
    pub no_undo: bool,
}

/// Restore the keys that `del` deleted
///
/// Keys that exist again are not changed, and are listed. Without FILE, it shows the workspace's newest undo file, and asks
/// before it restores the keys.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask undo .etcd/undo/20261123T113433Z-….jsonl\n  cargo xtask undo --list\n  cargo xtask undo"
)]
pub struct Undo {
    /// The undo file that `del` wrote [default: the newest]
    pub file: Option<PathBuf>,
    /// List the workspace's undo files: time, number of keys, cluster, range
    #[arg(long, conflicts_with_all = ["file", "overwrite", "any_cluster", "yes"])]
    pub list: bool,
    /// Do not ask if no FILE is given
    #[arg(short, long)]
    pub yes: bool,
    /// Overwrite keys that changed after the deletion
    #[arg(long)]
    pub overwrite: bool,
    /// Restore the keys even into another cluster
    #[arg(long)]
    pub any_cluster: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

// The keys, or all keys below the product's root.
#[derive(Args, Clone, Debug)]
#[expect(missing_docs, reason = "clap would show it in the place of a command's own")]
pub struct KeysOrRoot {
    /// The key, or the first of a range
    #[arg(allow_negative_numbers = true)]
    pub key: Option<String>,
    /// The end of the range (not included)
    #[arg(allow_negative_numbers = true, conflicts_with = "prefix")]
    pub range_end: Option<String>,
    /// All keys that begin with KEY
    #[arg(long, requires = "key")]
    pub prefix: bool,
}

impl KeysOrRoot {
    /// The keys; `None`: all keys below the product's root.
    #[must_use]
    pub fn keys(&self) -> Option<Keys> {
        let (key, range_end) = (self.key.clone()?, self.range_end.clone());
        Some(Keys { key, range_end, prefix: self.prefix, from_key: false })
    }
}

/// Print changes as they happen; without KEY, all changes below the product's root
///
/// After a lost connection the watch continues where it was. If etcd does not have the missed changes any more, a line says
/// GAP; if the data was replaced, RESET. Ctrl-C ends the watch. Each line begins with the local time at which the watch saw
/// the change, in JSON with UTC time. etcd does not store times: changes from before the start (--rev) have `earlier`, in
/// JSON `"time":null`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask watch\n  cargo xtask watch /Inventory/v1/racks/ --prefix -n 10 --format json"
)]
pub struct Watch {
    /// The keys.
    #[command(flatten)]
    pub keys: KeysOrRoot,
    /// Start with the changes of this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub rev: Option<i64>,
    /// Print only keys
    #[arg(long)]
    pub keys_only: bool,
    /// End after COUNT changes
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print bytes in hexadecimal
    #[arg(long)]
    pub hex: bool,
    /// How to answer on stdout, one change per line
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Print what happened to keys; without KEY, to all keys below the product's root
///
/// etcd keeps every change until a compaction. The oldest comes first. Each line has the revision, the key, and how the value
/// differs: JSON by field, long text by the part that changed. Changes of one transaction have the same revision. etcd stores no
/// times, but test runs have theirs in their ids: `--since 10m` begins at the last run that began more than 10 minutes ago.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask history /Inventory/v1/racks/1\n  cargo xtask history /Inventory/v1/racks/ --prefix --rev 100..200"
)]
pub struct History {
    /// The keys.
    #[command(flatten)]
    pub keys: KeysOrRoot,
    /// Only the changes of these revisions: A..B (with B), A.., ..B, or one revision
    #[arg(long, value_name = "A..B")]
    pub rev: Option<Revisions>,
    /// Only the changes since this test run began: the run's id, the beginning of the id, or a time, like 10m
    #[arg(long, value_name = "RUN|TIME", conflicts_with = "rev")]
    pub since: Option<String>,
    /// Print only keys
    #[arg(long)]
    pub keys_only: bool,
    /// Print bytes in hexadecimal, and both values whole
    #[arg(long)]
    pub hex: bool,
    /// How to answer on stdout, one change per line, as `watch` does
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Compare keys at two revisions, of two clusters, or with a snapshot; without KEY, all keys below the product's root
///
/// BEFORE and AFTER are each a revision of this cluster (0 is the newest), http://HOST:PORT of another cluster, cluster:NAME of
/// Cargo.toml, instance:NAME of this workspace, or the path of a snapshot file of etcd. Of other clusters and of snapshots the
/// newest keys are compared. Each line is a key that differs: `+` is only after, `-` is only before, `~` has another value.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask diff 100 0 /Inventory/v1/racks/ --prefix\n  cargo xtask diff backup.db 0\n  cargo xtask diff cluster:staging instance:default"
)]
pub struct Diff {
    /// What to compare: a revision, URLs, cluster:NAME, instance:NAME, or a snapshot file
    #[arg(value_name = "BEFORE")]
    pub before: KeysFrom,
    /// What to compare it with
    #[arg(value_name = "AFTER")]
    pub after: KeysFrom,
    /// The keys.
    #[command(flatten)]
    pub keys: KeysOrRoot,
    /// How to answer on stdout, one key per line
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// List, add, remove and promote the cluster's members
///
/// Of the workspace's own instances, `etcd-member` and `etcd-up --members` change the members.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask member list\n  cargo xtask member add --learner http://10.0.0.4:2380 --cluster ci"
)]
pub struct Member {
    /// The subcommand.
    #[command(subcommand)]
    pub command: MemberCommand,
}

/// List test runs: state, age, number of keys, and who started them
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask runs")]
pub struct Runs {
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Delete the keys that dead test runs left; never deletes outside the test root
///
/// A run of this machine is dead when none of its processes is left. A run of another machine is dead when its heartbeat
/// has been absent for ten times its time to live; this command waits for that. A run that was ended with --keep counts as
/// dead. Keys below the test root that belong to no run are deleted only with --unregistered, or after a question on a
/// terminal: a test without a run may be using them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask test-clean --dry-run\n  cargo xtask test-clean --run 20261123T113433Z-…."
)]
pub struct TestClean {
    /// Only this run
    #[arg(long, value_name = "ID", conflicts_with = "unregistered")]
    pub run: Option<String>,
    /// Only show what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Also delete keys that belong to no run, without asking
    #[arg(long)]
    pub unregistered: bool,
    /// Also delete live runs, after asking; their tests fail
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How to answer on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Subcommands of `member`
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// List the members as etcdctl does: id, status, name, peer URLs, client URLs, learner
    #[command(after_help = "Example:\n  cargo xtask member list --format json")]
    List {
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Have the cluster expect a new member, which you start afterwards
    #[command(after_help = "Example:\n  cargo xtask member add --learner http://10.0.0.4:2380 --cluster ci")]
    Add {
        /// The URL at which the other members reach it
        #[arg(value_name = "PEER_URL")]
        peer_url: String,
        /// It gets all keys, but does not vote until it is promoted: so it cannot cost the quorum
        #[arg(long)]
        learner: bool,
        /// Also of an instance of this workspace, whose record the caller keeps
        #[arg(long, hide = true)]
        own_instance: bool,
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Have the cluster forget a member, whose server then ends
    ///
    /// Refused if the other members could not decide anything afterwards.
    #[command(after_help = "Example:\n  cargo xtask member remove m3 --cluster ci")]
    Remove {
        /// Its name or its id, as `member list` shows them
        #[arg(value_name = "NAME|ID")]
        member: String,
        /// Let etcd alone decide
        #[arg(long)]
        force: bool,
        /// Also of an instance of this workspace, whose record the caller keeps
        #[arg(long, hide = true)]
        own_instance: bool,
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Have a learner vote from now on
    #[command(after_help = "Example:\n  cargo xtask member promote m4 --cluster ci")]
    Promote {
        /// Its name or its id, as `member list` shows them
        #[arg(value_name = "NAME|ID")]
        member: String,
        /// How to answer on stdout
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}
