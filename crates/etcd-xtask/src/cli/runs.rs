//! The arguments of `test`, `run` and `report`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use etcd_console_cli::Client;
use etcd_local::binary::Wanted;

use crate::versions::Versions;

/// Which etcd to run against, and whether to keep the keys
#[derive(Args, Clone, Debug)]
pub(crate) struct RunTarget {
    /// Which of this workspace's instances, which must be running [default: default, if it runs]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Which etcd to start: a version like 3.6.7 or 3.6, a requirement like ^3.6 (3.6 or later), or a path; implies --ephemeral.
    /// Several, as in 3.5,3.6,3.7, are used one after the other
    #[arg(long, value_name = "VERSION|PATH,…", conflicts_with_all = ["endpoints", "cluster"])]
    pub(crate) etcd: Option<Versions>,
    /// Start a separate etcd even if an instance is running
    #[arg(long, conflicts_with_all = ["endpoints", "cluster"])]
    pub(crate) ephemeral: bool,
    /// How many members the etcd to start has; implies --ephemeral
    #[arg(long, value_name = "N", value_parser = members(), conflicts_with_all = ["endpoints", "cluster"])]
    pub(crate) members: Option<usize>,
    /// Start one cluster, whose members run the etcds of --etcd in turn, instead of one cluster after the other
    #[arg(long, requires_all = ["members", "etcd"])]
    pub(crate) mixed: bool,
    /// Have clients of the etcd to start speak TLS; implies --ephemeral
    #[arg(long, conflicts_with_all = ["endpoints", "cluster"])]
    pub(crate) tls: bool,
    /// Switch authentication on in the etcd to start: the run gets a user of its own; implies --ephemeral
    #[arg(long, conflicts_with_all = ["endpoints", "cluster"])]
    pub(crate) auth: bool,
    /// Keep the keys of the run, to look at them; `test-clean` deletes them
    #[arg(long, conflicts_with_all = ["ephemeral", "etcd", "members", "tls", "auth"])]
    pub(crate) keep: bool,
    /// Keep the keys only if the run fails
    #[arg(long, conflicts_with_all = ["ephemeral", "etcd", "members", "tls", "auth", "keep"])]
    pub(crate) keep_failed: bool,
    /// Fail unless the run gets a user of its own, who can use the run's keys and nothing else [default: where that is possible]
    #[arg(long)]
    pub(crate) fence: bool,
    /// Let the run's processes connect as we do, also where the run could have a user of its own
    #[arg(long, conflicts_with = "fence")]
    pub(crate) no_fence: bool,
    /// Fail if one of these is found at the end [default: say so, except on a cluster elsewhere]
    #[arg(long, value_name = "WHAT,…", value_enum, value_delimiter = ',')]
    pub(crate) deny: Vec<Deny>,
    /// Do not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) client: Box<Client>,
}

/// What a run must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Keys outside of all runs change, by the run or by others meanwhile
    Escapes,
    /// The tests leave leases or locks
    Leaks,
}

/// The numbers of members that a cluster can have.
pub(super) fn members() -> impl TypedValueParser<Value = usize> {
    PossibleValuesParser::new(["1", "3", "5", "7"]).try_map(|number| number.parse::<usize>())
}

impl RunTarget {
    /// When the run gets a user of its own, in the words of the keeper's `--fence`.
    pub(crate) fn fence(&self) -> &'static str {
        match (self.fence, self.no_fence) {
            (true, _) => "always",
            (_, true) => "never",
            _ => "auto",
        }
    }

    /// The flags that repeat a run on this etcd. Without the password.
    pub(crate) fn flags(&self, etcd: Option<&Wanted>) -> Vec<String> {
        let mixed = self.etcd.as_ref().filter(|_| self.mixed).map(ToString::to_string);
        let with_value = [
            ("--instance", self.instance.clone()),
            ("--etcd", mixed.or(etcd.map(ToString::to_string))),
            ("--members", self.members.map(|members| members.to_string())),
        ];
        let with_value = with_value.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let with_value = with_value.chain(self.client.flags());
        let mut flags: Vec<String> =
            with_value.flat_map(|(name, value)| [name.to_owned(), value]).filter(|word| !word.is_empty()).collect();
        for (name, is_given) in [
            ("--ephemeral", self.ephemeral),
            ("--mixed", self.mixed),
            ("--tls", self.tls),
            ("--auth", self.auth),
            ("--fence", self.fence),
            ("--no-fence", self.no_fence),
            ("--offline", self.offline),
        ] {
            flags.extend(is_given.then(|| name.to_owned()));
        }
        flags
    }

    /// The etcds to start, one after the other.
    pub(crate) fn versions(&self) -> &[Wanted] {
        self.etcd.as_ref().filter(|_| !self.mixed).map_or(&[], Versions::as_slice)
    }

    /// The etcds to start as members of one cluster.
    pub(crate) fn mixed(&self) -> &[Wanted] {
        self.etcd.as_ref().filter(|_| self.mixed).map_or(&[], Versions::as_slice)
    }

    /// Whether the network may be used.
    pub(crate) fn network(&self) -> NetworkPolicy {
        NetworkPolicy::of(self.offline)
    }
}

/// Build the project's tests and run them against a real etcd, with a key prefix of their own
///
/// Uses the running instance. If none is running, starts an ephemeral etcd, which is removed afterwards. The tests find etcd
/// by ETCD_ENDPOINTS, and their prefix by ETCD_TEST_PREFIX. All keys below the prefix are deleted at the end, also if the
/// tests are killed.
///
/// At the workspace's root it tests all packages, in a package's folder only that package; choose others with -p and
/// --workspace, as with cargo. Runs nextest if it is installed, else cargo test. If all tests pass, documentation tests
/// follow, unless ARGS select targets or tests.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test -p my-crate --etcd 3.5 name_of_a_test\n  cargo xtask test --etcd 3.5,3.6,3.7 --no-fail-fast"
)]
pub struct Test {
    #[command(flatten)]
    pub(crate) target: RunTarget,
    /// The program that runs the tests
    #[arg(long, value_enum, default_value_t)]
    pub(crate) runner: Runner,
    /// Write a report of the run into this directory: a page, JSON, and with nextest JUnit [default: `report` in Cargo.toml]
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Names of tests, and options of cargo test and nextest, like -p, --release, --test, -j or -E; `--` may come first
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// Run any command against a real etcd, with a key prefix of its own, as `test` does
///
/// The command can be in any language. It finds etcd by ETCD_ENDPOINTS, and the prefix for its keys by ETCD_TEST_PREFIX.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  cargo xtask run -- go test ./...")]
pub struct Run {
    #[command(flatten)]
    pub(crate) target: RunTarget,
    /// Write a report of the run into this directory: a page and JSON, with what happened to its keys
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// The command and its arguments; `--` may come first
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Open the report of a test run in a browser, or print where it is
///
/// Without a screen, in CI, and if stdout is not a terminal, it only prints the path.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  cargo xtask test --report reports\n  cargo xtask report")]
pub struct ReportOf {
    /// The beginning of the run's id [default: the last run that has a report]
    pub(crate) run: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runner {
    /// nextest if it is installed, else cargo test
    #[default]
    Auto,
    /// cargo nextest run
    Nextest,
    /// cargo test
    Cargo,
}

/// Whether a command may download what it needs for a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkPolicy {
    Offline,
    Online,
}

impl NetworkPolicy {
    pub(super) fn of(offline: bool) -> Self {
        if offline { Self::Offline } else { Self::Online }
    }
}
