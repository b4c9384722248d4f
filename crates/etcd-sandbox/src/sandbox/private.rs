//! An etcd for one test alone. Only this module uses etcd-local, which ordinary tests never compile.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use etcd_local::{Builder, Env, Ephemeral};

use crate::error::Error;
use crate::run_id::RunId;
use crate::workspace::Workspace;

/// An etcd for one test alone. It ends with its sandbox, or with the process, however that ends.
pub struct Server {
    etcd: Mutex<Ephemeral>,
    pid: u32,
    version: String,
    log: PathBuf,
}

impl Server {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its version, like `3.7.2`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The log, while the server runs.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the server still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.etcd.lock().unwrap_or_else(PoisonError::into_inner).is_alive()
    }
}

/// Starts an etcd as the workspace wants it; `ETCDBINPATH`, which `cargo xtask test --etcd` sets, wins.
pub(crate) async fn start() -> Result<(Server, Vec<String>), Error> {
    let starting = tokio::task::spawn_blocking(|| {
        let env = Env::from_process().map_err(|error| error.to_string())?;
        let start = env.path_var("CARGO_MANIFEST_DIR").unwrap_or_else(|| env.cwd().to_owned());
        let dir = Workspace::above(&start).dir().unwrap_or(&start).to_owned();
        let builder = Builder::new(env, dir).map_err(|error| error.to_string())?;
        builder.start_ephemeral().map_err(|error| with_causes(&error))
    });
    let etcd = starting.await.map_err(|error| Error::Private(error.to_string()))?.map_err(Error::Private)?;
    let (pid, version, log) = (etcd.pid(), etcd.version().to_string(), etcd.log());
    let endpoints = etcd.endpoints();
    Ok((Server { etcd: Mutex::new(etcd), pid, version, log }, endpoints))
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
