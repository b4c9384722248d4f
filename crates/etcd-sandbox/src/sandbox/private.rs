//! An etcd for one test alone. Only this module uses etcd-local, which ordinary tests never compile.

use etcd_local::{Builder, Env, Ephemeral, Root};
use etcd_workspace::{ClientConfig, Password};

use crate::error::Error;
use crate::run_id::RunId;
use crate::workspace::Workspace;

/// Starts an etcd of so many members as the workspace wants it; `ETCDBINPATH`, which `cargo xtask test --etcd` sets, wins.
pub(crate) async fn start(members: usize, auth: bool) -> Result<Ephemeral, Error> {
    let starting = tokio::task::spawn_blocking(move || {
        let env = Env::from_process().map_err(|error| error.to_string())?;
        let start = env.path_var("CARGO_MANIFEST_DIR").unwrap_or_else(|| env.cwd().to_owned());
        let dir = Workspace::above(&start).dir().unwrap_or(&start).to_owned();
        let builder = Builder::new(env, dir).map_err(|error| error.to_string())?;
        let builder = builder.members(members).map_err(|error| error.to_string())?;
        builder.auth(auth).start_ephemeral().map_err(|error| with_causes(&error))
    });
    starting.await.map_err(|error| Error::Private(error.to_string()))?.map_err(Error::Private)
}

/// How its test connects to it: as its user, if it has one.
pub(crate) fn client_config(server: &Ephemeral) -> ClientConfig {
    let root = server.root();
    ClientConfig {
        endpoints: server.endpoints(),
        user: root.map(|_| Root::NAME.to_owned()),
        password: root.map(|root| Password::new(root.password())),
        ..ClientConfig::default()
    }
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
