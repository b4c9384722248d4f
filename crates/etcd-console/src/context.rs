//! Which cluster: from a flag, the environment, or the record of a local instance. Connects to it.

use std::path::{Component, Path};
use std::time::Duration;

use anyhow::Result;
use etcd_keys::{Connect, Connection, Error, ErrorKind};
use etcd_workspace::{ClusterId, InstanceError, Liveness, NoRoot, Record, liveness};

use crate::cli::{Command, Get, Global, Watch};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::wrong_port;

/// The instance that is meant where none is named.
const DEFAULT: &str = "default";

pub(crate) struct Context {
    pub(crate) global: Global,
    /// Whether the command was given a revision.
    pub(crate) has_revision: bool,
}

/// What leads to the cluster.
enum Source {
    /// `--endpoints`.
    Flag(Vec<String>),
    /// `ETCD_ENDPOINTS`.
    Variable(Vec<String>),
    /// The record of the instance with this name.
    Instance(String),
}

impl Context {
    pub(crate) fn new(global: Global, command: &Command) -> Self {
        let has_revision =
            matches!(command, Command::Get(Get { rev: Some(_), .. }) | Command::Watch(Watch { rev: Some(_), .. }));
        Self { global, has_revision }
    }

    /// A flag beats the environment, which beats the record.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        match self.source() {
            Source::Flag(endpoints) | Source::Variable(endpoints) => self.connect_to(&endpoints).await,
            Source::Instance(name) => self.connect_to_instance(&name).await,
        }
    }

    async fn connect_to(&self, endpoints: &[String]) -> Result<Connection> {
        let timeout = Duration::from_secs(self.global.cluster.timeout);
        match Connect::new(endpoints).connect_timeout(timeout).request_timeout(timeout).connect().await {
            Err(Error { kind: ErrorKind::Invalid(what), .. }) => {
                let next = "write http://HOST:PORT, in --endpoints or ETCD_ENDPOINTS".to_owned();
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
    async fn connect_to_instance(&self, name: &str) -> Result<Connection> {
        if !is_plain(name) {
            let (what, next) =
                (format!("`{name}` is not an instance name"), "a directory in `.etcd` is meant, and no path");
            return Err(Failure { exit: Exit::Usage, what, next: next.to_owned() }.into());
        }
        let record = self.running(name)?;
        let connection = self.connect_to(&record.endpoints).await?;
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
        match (self.source(), &self.global.cluster.instance) {
            (Source::Flag(endpoints), _) => format!(" --endpoints {}", output::argument(&endpoints.join(","))),
            (Source::Instance(_), Some(name)) => format!(" --instance {}", output::argument(name)),
            _ => String::new(),
        }
    }

    /// What to do about a server that does not answer, or is locked or full, which depends on what led there.
    pub(crate) fn next_step(&self, kind: &ErrorKind) -> Option<String> {
        let lost = matches!(kind, ErrorKind::Unreachable | ErrorKind::TimedOut);
        let name = match self.source() {
            Source::Variable(_) if lost => {
                let way_out = "unset it, or give `--instance default` for the workspace's own etcd";
                return Some(format!("ETCD_ENDPOINTS leads there: {way_out}"));
            }
            Source::Flag(_) if lost => {
                let longer = if *kind == ErrorKind::TimedOut { "`--timeout` waits longer; " } else { "" };
                return Some(format!("{longer}--endpoints leads there; without it the workspace's own etcd is meant"));
            }
            Source::Flag(_) | Source::Variable(_) => None,
            Source::Instance(name) => Some(name),
        };
        match (kind, name) {
            (ErrorKind::Unreachable, Some(name)) => {
                // By its lock it runs.
                Some(format!("`{}` shows how it is; `--endpoints` names another", of_instance("etcd-status", &name)))
            }
            (ErrorKind::TimedOut, Some(name)) => {
                let status = of_instance("etcd-status", &name);
                Some(format!("`{status}` shows whether it is well; `--timeout` waits longer"))
            }
            (ErrorKind::NoSpace, Some(name)) => {
                Some(format!("`{}` frees space and ends the alarm", of_instance("etcd-compact", &name)))
            }
            (ErrorKind::Denied(_), Some(name)) => Some(format!(
                "`{} -- --user NAME …` asks as a user that may; `{}` deletes users and keys",
                of_instance("etcdctl", &name),
                of_instance("etcd-reset", &name)
            )),
            (ErrorKind::Etcd { .. } | ErrorKind::Invalid(_), Some(name)) => {
                Some(format!("`{}` may say more", of_instance("etcd-logs", &name)))
            }
            (ErrorKind::Compacted { .. }, _) if !self.has_revision => {
                Some("etcd compacted the revision while its keys were read; run the same command again".to_owned())
            }
            _ => None,
        }
    }

    fn source(&self) -> Source {
        if !self.global.cluster.endpoints.is_empty() {
            return Source::Flag(self.global.cluster.endpoints.clone());
        }
        let urls = std::env::var("ETCD_ENDPOINTS").ok().filter(|urls| !urls.is_empty());
        match (&self.global.cluster.instance, urls) {
            (None, Some(urls)) => Source::Variable(urls.split(',').map(|url| url.trim().to_owned()).collect()),
            (name, _) => Source::Instance(name.as_deref().unwrap_or(DEFAULT).to_owned()),
        }
    }
}

/// Why nothing can be said of an instance, with the next step.
fn unknown(name: &str, error: InstanceError) -> anyhow::Error {
    let up = of_instance("etcd-up", name);
    let next = match error {
        InstanceError::Missing { .. } | InstanceError::Damaged { .. } => format!("`{up}` writes the record anew"),
        InstanceError::Orphaned { .. } => {
            format!("`{}` stops it; then `{up}` starts it anew", of_instance("etcd-down", name))
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
fn of_instance(command: &str, name: &str) -> String {
    match name {
        DEFAULT => format!("cargo xtask {command}"),
        name => format!("cargo xtask {command} --instance {}", output::argument(name)),
    }
}
