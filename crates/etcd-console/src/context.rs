//! Which cluster: from a flag, the environment, or the record of a local instance. Connects to it.

use std::path::{Component, Path};
use std::time::Duration;

use anyhow::Result;
use etcd_keys::tls::TlsError;
use etcd_keys::{Connection, Error, ErrorKind, Redaction};
use etcd_workspace::{
    ClientConfig, ClientConfigError, ClusterId, InstanceError, Leads, Liveness, ManifestSettings, NoRoot, RECORD,
    Record, liveness,
};

use crate::cli::{Client, Cluster, Command, Get, Global, History, Watch};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::wrong_port;

/// The instance that is meant where none is named.
const DEFAULT: &str = "default";

pub(crate) struct Context {
    pub(crate) global: Global,
    /// Whether the command was given a revision.
    pub(crate) has_revision: bool,
    /// The argument that names the cluster, if it is another one than the command's.
    other: Option<String>,
}

impl Context {
    pub(crate) fn new(global: Global, command: &Command) -> Self {
        let has_revision = matches!(
            command,
            Command::Get(Get { rev: Some(_), .. })
                | Command::Watch(Watch { rev: Some(_), .. })
                | Command::History(History { rev: Some(_), .. })
                | Command::Diff(_)
                | Command::Revert(_)
        );
        Self { global, has_revision, other: None }
    }

    /// The context of another cluster, which an argument of the command names. Flags for TLS and the user hold there, too.
    pub(crate) fn of_other(&self, argument: String, cluster: Cluster) -> Self {
        let global = Global { cluster, ..self.global.clone() };
        Self { global, has_revision: false, other: Some(argument) }
    }

    /// The keys whose values histories do not show: `redact` in the workspace's manifest, if there is one.
    pub(crate) fn redaction(&self) -> Result<Redaction> {
        Ok(Redaction::new(self.manifest()?.redact.iter().map(String::as_str)))
    }

    /// The settings of the workspace's manifest, if there is one.
    pub(crate) fn manifest(&self) -> Result<ManifestSettings> {
        let path = &self.global.manifest;
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(ManifestSettings::default()) };
        Ok(ManifestSettings::parse(&text).map_err(|why| ClientConfigError::Manifest { path: path.clone(), why })?)
    }

    /// How the workspace's own instance is reached, by its record.
    pub(crate) fn instance_config(&self) -> Result<ClientConfig> {
        Ok(self.running(self.instance())?.client_config()?)
    }

    /// A flag beats the environment, which beats the record.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Ok(self.connect_as().await?.0)
    }

    /// The same, and what led there, with the endpoints.
    pub(crate) async fn connect_as(&self) -> Result<(Connection, ClientConfig)> {
        let (leads, mut config) = self.client_config()?;
        let connection = match leads {
            Leads::Instance => self.connect_to_instance(self.instance(), &mut config).await?,
            _ => self.connect_to(&config).await?,
        };
        Ok((connection, config))
    }

    fn client_config(&self) -> Result<(Leads, ClientConfig)> {
        let Client { cluster, .. } = &self.global.cluster.client;
        let resolved = self.global.cluster.client.config().and_then(|flags| {
            let names_instance = self.global.cluster.instance.is_some();
            let manifest = || ManifestSettings::clusters(&self.global.manifest);
            ClientConfig::resolve(flags, cluster.as_deref(), names_instance, variable, manifest)
        });
        resolved.map_err(|error| {
            let next = client_config_hint(&error).to_owned();
            anyhow::Error::new(error).context(Failure {
                exit: Exit::Usage,
                what: "cannot tell how to connect".to_owned(),
                next,
            })
        })
    }

    /// Connects as a configuration says, for a second connection beside the command's own.
    pub(crate) async fn connect_with(&self, config: &ClientConfig) -> Result<Connection> {
        self.connect_to(config).await
    }

    async fn connect_to(&self, config: &ClientConfig) -> Result<Connection> {
        let (timeout, endpoints) = (Duration::from_secs(self.global.cluster.timeout), &config.endpoints);
        let connect = etcd_sandbox::connect_options(config);
        match connect.connect_timeout(timeout).request_timeout(timeout).connect().await {
            Err(Error { kind: ErrorKind::Invalid(what), .. }) => {
                let next = "write http://HOST:PORT, in --endpoints or ETCD_ENDPOINTS; --cacert, --cert and --key name files in PEM format that you can read".to_owned();
                Err(Failure { exit: Exit::Usage, what, next }.into())
            }
            Err(error) if error.kind == ErrorKind::Unreachable => match wrong_port::hint(endpoints).await {
                Some(next) => Err(Failure { exit: Exit::NotRunning, what: error.to_string(), next }.into()),
                None => Err(error.into()),
            },
            connection => Ok(connection?),
        }
    }

    /// The workspace's own instance, and no other server.
    pub(crate) async fn connect_to_instance(&self, name: &str, config: &mut ClientConfig) -> Result<Connection> {
        if !is_plain(name) {
            let (what, next) =
                (format!("`{name}` is not an instance name"), "a directory in `.etcd` is meant, and no path");
            return Err(Failure { exit: Exit::Usage, what, next: next.to_owned() }.into());
        }
        let record = self.running(name)?;
        *config = std::mem::take(config).or(record.client_config()?);
        let connection = self.connect_to(config).await?;
        if connection.cluster_id().is_none_or(|answers| record.cluster_id == Some(ClusterId(answers))) {
            return Ok(connection);
        }
        let at = connection.endpoint();
        let what = format!("another cluster than etcd `{name}` answers at {at}, which the record of `{name}` names");
        let next = format!("`{}` corrects the record; --endpoints names that cluster", of_instance("etcd-up", name));
        Err(Failure { exit: Exit::NotRunning, what, next }.into())
    }

    /// The record of a running instance that says which cluster it is.
    fn running(&self, name: &str) -> Result<Box<Record>> {
        let up = of_instance("etcd-up", name);
        let (exit, what, next) = match liveness(&self.global.home.join(name)) {
            Ok(Liveness::Running(record)) if record.cluster_id.is_some() => return Ok(record),
            Ok(Liveness::Running(_)) => (
                Exit::NotRunning,
                format!("the record of etcd `{name}` does not say which cluster it is"),
                format!("`{up}` waits until that is known"),
            ),
            Ok(Liveness::NoQuorum { running, members }) => (
                Exit::NotRunning,
                format!("etcd `{name}` has no quorum: {running} of {members} members run"),
                format!("`{up}` starts the others"),
            ),
            Ok(Liveness::Starting) => {
                (Exit::NotRunning, format!("etcd `{name}` is starting"), format!("`{up}` waits until it is ready"))
            }
            Ok(Liveness::Stopped) => (
                Exit::NotRunning,
                format!("etcd `{name}` is not running"),
                format!("`{up}` starts it; --endpoints or ETCD_ENDPOINTS names a cluster elsewhere"),
            ),
            Err(error) => return Err(unknown(name, error)),
        };
        Err(Failure { exit, what, next }.into())
    }

    /// The workspace's instance that this is a connection to, if it is one. A cluster with users need not say its id: then the
    /// endpoints tell.
    pub(crate) fn own_instance(&self, connection: &Connection, config: &ClientConfig) -> Option<String> {
        if self.leads() == Leads::Instance {
            return Some(self.instance().to_owned());
        }
        let is_it = |record: &Record| match connection.cluster_id() {
            Some(id) => record.cluster_id == Some(ClusterId(id)),
            None => record.endpoints.iter().any(|endpoint| config.endpoints.contains(endpoint)),
        };
        let dirs = std::fs::read_dir(&self.global.home).into_iter().flatten().flatten();
        let mut records = dirs.filter_map(|dir| Record::read(&dir.path().join(RECORD)).ok().flatten());
        records.find(is_it).map(|record| record.instance)
    }

    /// The product's root, for a command that cannot do without.
    pub(crate) fn root(&self) -> Result<&str> {
        let no_root = || Failure { exit: Exit::Usage, what: NoRoot.to_string(), next: NoRoot::NEXT.to_owned() };
        Ok(self.global.root.as_deref().ok_or_else(no_root)?)
    }

    /// Says what was done, on stdout: data is printed elsewhere, this is for people.
    pub(crate) fn report(&self, text: &str) -> Result<()> {
        if self.global.quiet { Ok(()) } else { output::text(text) }
    }

    /// Says something that is not the answer.
    pub(crate) fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.global.quiet {
            output::say(format_args!("{text}"));
        }
    }

    /// The flags that lead another command to the same cluster, as a shell wants them and with a space before them, if
    /// any were given. What the environment says, it says to others, too.
    pub(crate) fn flags(&self) -> String {
        let Cluster { client, instance, .. } = &self.global.cluster;
        let instance = instance.iter().map(|name| ("--instance", name.clone()));
        let mut flags = String::new();
        for (name, value) in client.flags().into_iter().chain(instance) {
            flags.push(' ');
            flags.push_str(name);
            if !value.is_empty() {
                flags.push(' ');
                flags.push_str(&output::argument(&value));
            }
        }
        flags
    }

    /// What to do about a server that does not answer, or is locked or full, which depends on what led there.
    pub(crate) fn next_step(&self, kind: &ErrorKind) -> Option<String> {
        let lost = matches!(kind, ErrorKind::Unreachable | ErrorKind::TimedOut);
        if let ErrorKind::Tls(error) = kind {
            return Some(tls_hint(error).to_owned());
        }
        if let Some(other) = &self.other {
            return lost.then(|| format!("`{other}` leads there: check that it is right, and that this cluster runs"));
        }
        let name = match self.leads() {
            Leads::Variables if lost => {
                let way_out = "unset it, or give `--instance default` for the workspace's own etcd";
                return Some(format!("ETCD_ENDPOINTS leads there: {way_out}"));
            }
            Leads::Endpoints | Leads::Cluster if lost => {
                let longer = if *kind == ErrorKind::TimedOut { "`--timeout` waits longer; " } else { "" };
                return Some(format!(
                    "{longer}{} leads there; without it the workspace's own etcd is meant",
                    self.flag_that_leads()
                ));
            }
            Leads::Endpoints | Leads::Cluster | Leads::Variables => None,
            Leads::Instance => Some(self.instance()),
        };
        match (kind, name) {
            (ErrorKind::Unreachable, Some(name)) => {
                // By its lock it runs.
                Some(format!("`{}` shows how it is; `--endpoints` names another", of_instance("etcd-status", name)))
            }
            (ErrorKind::TimedOut, Some(name)) => {
                let status = of_instance("etcd-status", name);
                Some(format!("`{status}` shows whether it is well; `--timeout` waits longer"))
            }
            (ErrorKind::NoSpace, Some(name)) => {
                Some(format!("`{}` frees space and ends the alarm", of_instance("etcd-compact", name)))
            }
            (ErrorKind::Denied(_), Some(name)) => Some(format!(
                "`{} -- --user NAME …` asks as a user that may; `{}` deletes users and keys",
                of_instance("etcdctl", name),
                of_instance("etcd-reset", name)
            )),
            (ErrorKind::Etcd { .. } | ErrorKind::Invalid(_), Some(name)) => {
                Some(format!("`{}` may say more", of_instance("etcd-logs", name)))
            }
            (ErrorKind::Compacted { .. }, _) if !self.has_revision => {
                Some("etcd compacted the revision while its keys were read; run the same command again".to_owned())
            }
            _ => None,
        }
    }

    /// What leads to the cluster, whether that is usable or not.
    fn leads(&self) -> Leads {
        let Cluster { client, instance, .. } = &self.global.cluster;
        if !client.endpoints.is_empty() {
            Leads::Endpoints
        } else if client.cluster.is_some() {
            Leads::Cluster
        } else if instance.is_none() && variable("ETCD_ENDPOINTS").is_some() {
            Leads::Variables
        } else {
            Leads::Instance
        }
    }

    fn flag_that_leads(&self) -> &'static str {
        if self.leads() == Leads::Cluster { "--cluster" } else { "--endpoints" }
    }

    /// The name of the instance, where one is meant.
    pub(crate) fn instance(&self) -> &str {
        self.global.cluster.instance.as_deref().unwrap_or(DEFAULT)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn client_config_hint(error: &ClientConfigError) -> &'static str {
    match error {
        ClientConfigError::NoCluster { .. } => {
            "add a table `[workspace.metadata.etcd.clusters.NAME]` to Cargo.toml, or use --endpoints"
        }
        ClientConfigError::NoEndpoints(_) => "add a line like `endpoints = [\"https://etcd.example.com:2379\"]` to it",
        ClientConfigError::PasswordFile { .. } => "name a file that you can read, or set ETCDCTL_PASSWORD",
        ClientConfigError::HalfCertificate => "give both --cert and --key",
        ClientConfigError::NoPassword(_) => "set ETCDCTL_PASSWORD, or give --password-file FILE",
        ClientConfigError::NoUser => "give --user NAME, or set ETCDCTL_USER",
        _ => "correct it, then run the same command again",
    }
}

/// What to do where TLS fails.
fn tls_hint(error: &TlsError) -> &'static str {
    match error {
        TlsError::UnknownIssuer => {
            "--cacert FILE names the CA that signed it; without --cacert the system's CAs are trusted"
        }
        TlsError::Expired | TlsError::NotValidYet => {
            "renew the server's certificate, and check the clocks of both machines"
        }
        TlsError::WrongHost(_) => "use a host name that the certificate has, or add this one to the certificate",
        TlsError::NoClientCertificate => "give a client certificate with --cert and --key",
        TlsError::ClientCertificateRefused(_) => {
            "give a client certificate that the server's CA has signed and that has not expired"
        }
        TlsError::NotTls => "write http:// instead of https://",
        TlsError::TlsOnly => "write https:// instead of http://",
        _ => "the server's log may say more",
    }
}

/// Why nothing can be said of an instance, with the next step.
fn unknown(name: &str, error: InstanceError) -> anyhow::Error {
    let up = of_instance("etcd-up", name);
    let next = match error {
        InstanceError::Missing { .. } | InstanceError::Damaged { .. } => format!("`{up}` writes the record anew"),
        InstanceError::Orphaned { .. } => {
            format!("`{}` stops it; then `{up}` starts it again", of_instance("etcd-down", name))
        }
        InstanceError::Newer { .. } => "use the version of these commands that started this etcd, or newer".to_owned(),
        _ => "be the user who started this etcd; `cargo xtask doctor` looks at whose the files are".to_owned(),
    };
    anyhow::Error::new(error).context(Failure { exit: Exit::Failure, what: format!("cannot find etcd `{name}`"), next })
}

/// Whether it names something in a directory, on this system, and nothing outside of it.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
}

/// A command of xtask's for an instance.
pub(crate) fn of_instance(command: &str, name: &str) -> String {
    match name {
        DEFAULT => format!("cargo xtask {command}"),
        name => format!("cargo xtask {command} --instance {}", output::argument(name)),
    }
}
