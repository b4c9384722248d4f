//! What can go wrong with runs and sandboxes. `Debug` adds the cause and the next step: a failing test prints it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use etcd_workspace::{ClientConfigError, NoRoot};

use crate::hint;
use crate::roots::RootsError;
use crate::run_id::{self, RunId};

/// Why there is no sandbox, or what went wrong in a sandbox. Cheap to clone: if there is no etcd, all tests of a process
/// get the same error. `Debug` is what a failing test prints: `Display`, the cause, and the next step.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No etcd answers.
    #[error("no etcd answers at {endpoints}")]
    NoEtcd {
        /// Where it was looked for.
        endpoints: String,
        /// The next step, which depends on what led there.
        hint: &'static str,
        /// What was tried.
        source: Arc<etcd_keys::Error>,
    },
    /// The workspace's instance is not running, and nothing names another etcd.
    #[error("etcd `default` of `{}` is not running{}", workspace.display(), other_etcd(other.as_deref()))]
    NotRunning {
        /// The workspace.
        workspace: PathBuf,
        /// The endpoint of an etcd that listens where the instance would. It is not this workspace's.
        other: Option<String>,
    },
    /// The workspace's instance cannot be used yet, or its record does not lead to it.
    #[error("etcd `default` of `{}` {why}", workspace.display())]
    Instance {
        /// The workspace.
        workspace: PathBuf,
        /// What is wrong.
        why: String,
        /// The next step.
        hint: &'static str,
    },
    /// Nothing names an etcd.
    #[error(
        "no etcd is named: ETCD_ENDPOINTS is not set, and neither CARGO_MANIFEST_DIR nor the current directory is in a \
         workspace"
    )]
    NoWorkspace,
    /// The environment does not say how to reach a cluster.
    #[error(transparent)]
    ClientConfig(Arc<ClientConfigError>),
    /// Etcd refused something, or stopped answering.
    #[error("{0}")]
    Etcd(#[source] Arc<etcd_keys::Error>),
    /// The environment names a run that etcd does not know.
    #[error("the run `{run}` is not registered at {endpoints}: it has ended")]
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
    #[error("{name} is `{value}`: {why}")]
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
    #[error("{0}")]
    NoRoot(#[from] NoRoot),
    /// The test root cannot be used.
    #[error("{0}")]
    Roots(#[from] RootsError),
    /// This machine failed: the run's lock, random bits.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A key was not in time as the test waited for it.
    #[error("{0}")]
    WaitTimeout(#[from] crate::wait_timeout::WaitTimeout),
    /// The keys are not those that were expected.
    #[error("{0}")]
    Keys(#[from] crate::expect::Difference),
    /// The history is compacted up to this revision.
    #[error("what happened before revision {0} is compacted")]
    Compacted(i64),
    /// There is no server for this test alone.
    #[error("no etcd for this test alone: {0}")]
    Private(String),
}

fn other_etcd(url: Option<&str>) -> String {
    url.map_or_else(String::new, |url| format!("; the etcd at {url} is not this workspace's"))
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source: Arc::new(source) }
    }

    /// The next step, where there is one.
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NoEtcd { hint, .. } | Self::Instance { hint, .. } => Cow::from(*hint),
            Self::NotRunning { other: None, .. } => hint::START.into(),
            Self::NotRunning { other: Some(url), .. } => hint::beside(url).into(),
            Self::NoWorkspace => hint::NAME_ONE.into(),
            Self::NoRun { .. } => hint::LEAVE_RUN.into(),
            Self::Variable { .. } => hint::SET_BY_RUNNER.into(),
            Self::NoRoot(_) => NoRoot::NEXT.into(),
            Self::Compacted(_) => hint::OWN_ETCD.into(),
            Self::Etcd(error) if error.kind.is_denied_to(run_id::is_fence_user) => hint::FENCED.into(),
            _ => return None,
        })
    }
}

impl From<ClientConfigError> for Error {
    fn from(error: ClientConfigError) -> Self {
        Self::ClientConfig(Arc::new(error))
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
            Self::NoEtcd { source, .. } => write!(f, "\n  because: {source}")?,
            Self::Etcd(source) => source.source.iter().try_for_each(|source| write!(f, "\n  because: {source}"))?,
            _ => {}
        }
        self.hint().iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}
