//! Connects to the etcd that a process uses. Knows no runs.

use std::sync::Arc;
use std::time::Duration;

use etcd_keys::{Connect, Connection, ErrorKind, Tls};
use etcd_workspace::{ClientConfig, ClusterId};

use crate::error::Error;
use crate::hint;
use crate::workspace::{Target, Workspace};

/// The timeout of requests: hundreds of tests ask at the same time, on one machine. A server that is gone is noticed
/// earlier.
const ANSWER: Duration = Duration::from_secs(10);

/// How many of its writes a connection remembers, so that the timeline of a failed test can tell them from others'.
const OWN_WRITES: usize = 4096;
/// How many of its watches it remembers, to tell where they began.
const OWN_WATCHES: usize = 256;

/// Connects to the etcd that this process uses: the one that `ETCD_ENDPOINTS` names, else the workspace's running
/// instance `default`. Opens no sandbox and starts no run.
///
/// # Errors
/// [`Error::NotRunning`], [`Error::NoEtcd`], and errors of the environment.
pub async fn connect() -> Result<Connection, Error> {
    Ok(connect_to_target(&Workspace::of_process()).await?.0)
}

pub(crate) async fn connect_to_target(workspace: &Workspace) -> Result<(Connection, Arc<Target>), Error> {
    let target = match workspace.target() {
        Err(Error::NotRunning { workspace: dir, .. }) => {
            return Err(Error::NotRunning { workspace: dir, other: other_etcd(workspace).await? });
        }
        target => Arc::new(target?),
    };
    let connection = connect_to(&target).await?;
    check_cluster(&connection, &target)?;
    Ok((connection, target))
}

/// The record may be older than the server that holds the lock. Then another server may have the recorded port.
fn check_cluster(connection: &Connection, target: &Target) -> Result<(), Error> {
    let Target::Instance { workspace, record } = target else { return Ok(()) };
    let is_its_cluster = |answers| record.cluster_id == Some(ClusterId(answers));
    if connection.cluster_id().is_none_or(is_its_cluster) {
        return Ok(());
    }
    let why = format!("runs, but another cluster answers at {}, which its record names", connection.endpoint());
    Err(Error::Instance { workspace: workspace.clone(), why, hint: hint::CORRECT })
}

/// An etcd that listens where the workspace's own would, for the error message.
async fn other_etcd(workspace: &Workspace) -> Result<Option<String>, Error> {
    const LOOK: Duration = Duration::from_secs(1);
    let Some(endpoint) = workspace.usual_endpoint()? else { return Ok(None) };
    let answers = Connect::new([endpoint.as_str()]).connect_timeout(LOOK).request_timeout(LOOK).connect().await;
    Ok(answers.is_ok().then_some(endpoint))
}

/// How to connect to a cluster as its configuration says. Certificates are read when the connection is made.
#[must_use]
pub fn connect_options(config: &ClientConfig) -> Connect {
    let mut connect = Connect::new(&config.endpoints);
    if config.has_tls() {
        let mut tls = Tls::default();
        tls = config.cacert.iter().fold(tls, Tls::ca_file);
        tls = config.cert.iter().zip(&config.key).fold(tls, |tls, (cert, key)| tls.client_certificate_files(cert, key));
        connect = connect.tls(if config.insecure_skip_tls_verify { tls.insecure_skip_verify() } else { tls });
    }
    match (&config.user, &config.password) {
        (Some(user), Some(password)) => connect.user(user, password.reveal()),
        _ => connect,
    }
}

/// Connects on the runtime that this is called on.
pub(crate) async fn connect_to(target: &Target) -> Result<Connection, Error> {
    let endpoints = target.endpoints();
    let connect = match target {
        Target::Instance { record, .. } => connect_options(&record.client_config()?),
        Target::Named(config) => connect_options(config),
        #[cfg(feature = "private")]
        Target::Private(config) => connect_options(config),
    };
    let connect = connect.remember_writes(OWN_WRITES).remember_watches(OWN_WATCHES);
    connect.request_timeout(ANSWER).connect().await.map_err(|error| match error.kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut => {
            Error::NoEtcd { endpoints: endpoints.join(","), hint: target.hint(), source: Arc::new(error) }
        }
        _ => error.into(),
    })
}
