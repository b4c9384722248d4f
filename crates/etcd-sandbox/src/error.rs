//! What can go wrong with runs and sandboxes, with the next step to take: tests show it as it is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use etcd_workspace::NoRoot;

use crate::roots::RootsError;
use crate::run_id::RunId;

/// Why there is no sandbox, or what went wrong in it. Cheap to clone: tests that cannot have a server all get the
/// same error. `Debug` is as readable as `Display`, for that is what a failing test prints.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No etcd answers.
    #[error("no etcd answers at {endpoints}; {next}")]
    NoEtcd {
        /// Where it was looked for.
        endpoints: String,
        /// What to do, which depends on what led there.
        next: &'static str,
        /// What was tried.
        source: Arc<etcd_keys::Error>,
    },
    /// The workspace's instance is not running, and nothing names another etcd.
    #[error("etcd `default` of `{}` is not running; {}", workspace.display(), ways_to_etcd(other.as_deref()))]
    NotRunning {
        /// The workspace.
        workspace: PathBuf,
        /// The endpoint of an etcd that listens where the instance would; it is somebody else's.
        other: Option<String>,
    },
    /// The workspace's instance cannot be reached, or not be told from others.
    #[error("etcd `default` of `{}` {why}", workspace.display())]
    Instance {
        /// The workspace.
        workspace: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Nothing names an etcd.
    #[error(
        "no etcd is named: ETCD_ENDPOINTS is not set, and neither CARGO_MANIFEST_DIR nor the current directory is in a \
         workspace; run the tests with cargo, or set ETCD_ENDPOINTS"
    )]
    NoWorkspace,
    /// Etcd refused something, or stopped answering.
    #[error("{0}")]
    Etcd(#[source] Arc<etcd_keys::Error>),
    /// The environment names a run that etcd does not know.
    #[error(
        "the run `{run}` is not registered at {endpoints}: it has ended. Unset ETCD_TEST_RUN and ETCD_TEST_PREFIX, or use `cargo xtask run`"
    )]
    NoRun {
        /// The run.
        run: RunId,
        /// Where it was looked for.
        endpoints: String,
    },
    /// The run is being swept.
    #[error("the run `{0}` is being swept: its runner has ended")]
    Swept(RunId),
    /// `ETCD_TEST_PREFIX` and `ETCD_TEST_RUN` do not belong together, or not to this workspace.
    #[error("{name} is `{value}`: {why}. `cargo xtask test` and `cargo xtask run` set it")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The workspace's `[workspace.metadata.etcd]` cannot be used.
    #[error("`{path}`: {why}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The workspace does not say what its product's root is.
    #[error("{0}: {next}", next = NoRoot::NEXT)]
    NoRoot(#[from] NoRoot),
    /// The test root cannot be used.
    #[error("{0}")]
    Roots(#[from] RootsError),
    /// Something of this machine: the run's lock, random bits.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A key did not come to be as it was waited for.
    #[error("{0}")]
    WaitTimeout(#[from] crate::wait_timeout::WaitTimeout),
    /// The keys are not those that were expected.
    #[error("{0}")]
    Keys(#[from] crate::expect::Difference),
    /// What happened cannot be told any more: it is compacted.
    #[error("what happened before revision {0} is compacted; a test that compacts wants a server of its own")]
    Compacted(i64),
    /// A server for this test alone could not be had.
    #[error("no etcd for this test alone: {0}")]
    Private(String),
}

/// What to do where the instance is not running.
fn ways_to_etcd(other: Option<&str>) -> String {
    match other {
        None => "`cargo xtask etcd-up` starts it, `cargo xtask test` brings an etcd along".to_owned(),
        Some(url) => format!(
            "the etcd at {url} is not this workspace's: `cargo xtask etcd-up --port auto` starts this workspace's own \
             beside it, `cargo xtask test` brings one along, ETCD_ENDPOINTS={url} uses that one"
        ),
    }
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source: Arc::new(source) }
    }
}

impl From<etcd_keys::Error> for Error {
    fn from(error: etcd_keys::Error) -> Self {
        Self::Etcd(Arc::new(error))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Self::NoEtcd { source, .. } => write!(f, "\n  because: {source}"),
            Self::Etcd(source) => source.source.iter().try_for_each(|source| write!(f, "\n  because: {source}")),
            _ => Ok(()),
        }
    }
}
