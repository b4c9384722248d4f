//! An etcd for one test alone. Only this module uses etcd-local, which ordinary tests never compile.

use std::sync::{Arc, OnceLock, Weak};

use etcd_local::{Builder, Env, Ephemeral, Event, Reporter};
use etcd_workspace::TlsFiles;

use crate::error::Error;
use crate::run_id::RunId;
use crate::sandbox::recorder::Recorder;
use crate::workspace::Workspace;

/// What an etcd for one test is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Private {
    /// How many members it has: 1, 3, 5 or 7.
    pub members: usize,
    /// Whether its clients speak TLS, and show a certificate.
    pub tls: bool,
    /// Whether authentication is on. The sandbox is `root` there, whose password
    /// [`Ephemeral::root`](etcd_local::Ephemeral::root) has.
    pub auth: bool,
}

impl Default for Private {
    fn default() -> Self {
        Self { members: 1, tls: false, auth: false }
    }
}

impl Private {
    /// With so many members.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// With TLS, or without.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// With authentication, or without.
    #[must_use]
    pub fn auth(mut self, auth: bool) -> Self {
        self.auth = auth;
        self
    }
}

/// Puts what a test does to the members of its etcd on the test's timeline.
#[derive(Default)]
pub(crate) struct Faults(OnceLock<Weak<Recorder>>);

impl Faults {
    pub(crate) fn record(&self, recorder: &Arc<Recorder>) {
        // Called once, for a new sandbox.
        let _ = self.0.set(Arc::downgrade(recorder));
    }
}

impl Reporter for Faults {
    fn report(&self, event: &Event) {
        let is_fault = matches!(
            event,
            Event::Stopping { .. } | Event::Killing { .. } | Event::Restarted { .. } | Event::LeadershipMoved { .. }
        );
        if let Some(recorder) = self.0.get().and_then(Weak::upgrade).filter(|_| is_fault) {
            recorder.fault(event.to_string());
        }
    }
}

/// Starts an etcd as the workspace wants it; `ETCDBINPATH`, which `cargo xtask test --etcd` sets, wins.
pub(crate) async fn start(wanted: Private, faults: Arc<Faults>) -> Result<Ephemeral, Error> {
    let starting = tokio::task::spawn_blocking(move || {
        let Private { members, tls, auth } = wanted;
        let env = Env::from_process().map_err(|error| error.to_string())?;
        let start = env.path_var("CARGO_MANIFEST_DIR").unwrap_or_else(|| env.cwd().to_owned());
        let workspace = Workspace::above(&start);
        let dir = workspace.dir().unwrap_or(&start).to_owned();
        let builder = Builder::new(env, dir).map_err(|error| error.to_string())?;
        let builder = builder.members(members).map_err(|error| error.to_string())?;
        let mut builder = builder.auth(auth).reporter(faults);
        if tls {
            let files = TlsFiles::in_dir(workspace.tls_dir());
            etcd_certificates::ensure(&files, builder.settings().host).map_err(|error| with_causes(&error))?;
            builder = builder.tls(files);
        }
        builder.start_ephemeral().map_err(|error| with_causes(&error))
    });
    starting.await.map_err(|error| Error::Private(error.to_string()))?.map_err(Error::Private)
}

/// The prefix of such a test's keys: as if its server had one run.
pub(crate) fn prefix() -> Result<String, Error> {
    let run = RunId::fresh().map_err(Error::system("make a run id"))?;
    Ok(Workspace::of_process().roots()?.run(&run))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
