//! Which cluster: from a flag, the environment, or the record of a local instance. Connects to it.

use std::path::{Component, Path};
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_keys::{Connect, Connection, Error, Kind};
use etcd_sandbox::Instance;

use crate::cli::{Command, Get, Global, Watch};
use crate::output::{self, Exit, Failure};

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
            Err(Error { kind: Kind::Invalid(what), .. }) => {
                let next = "write http://HOST:PORT, in --endpoints or ETCD_ENDPOINTS".to_owned();
                Err(Failure { exit: Exit::Usage, what, next }.into())
            }
            connection => Ok(connection?),
        }
    }

    /// The workspace's own instance, and nobody else: by now another server may have the port that the record names.
    async fn connect_to_instance(&self, name: &str) -> Result<Connection> {
        if !is_plain(name) {
            let (what, next) =
                (format!("`{name}` is not an instance name"), "a directory in `.etcd` is meant, and no path");
            return Err(Failure { exit: Exit::Usage, what, next: next.to_owned() }.into());
        }
        let failure = |what, next| Failure { exit: Exit::NotRunning, what, next };
        let up = of_instance("etcd-up", name);
        let record = self.global.home.join(name).join("instance.json");
        let running = Instance::running(&record).with_context(|| format!("cannot read `{}`", record.display()))?;
        let Some(instance) = running else {
            let next = format!("`{up}` starts it; --endpoints or ETCD_ENDPOINTS names a cluster elsewhere");
            return Err(failure(format!("etcd `{name}` is not running"), next).into());
        };
        if instance.cluster_id.is_none() {
            let what = format!("the record of etcd `{name}` does not say which cluster it is");
            return Err(failure(what, format!("`{up}` waits until that is known")).into());
        }
        let connection = self.connect_to(&instance.endpoints).await?;
        if !instance.may_be(&connection) {
            let what = format!("etcd `{name}` is not running: another cluster answers at {}", connection.endpoint());
            let next = format!("`{up} --port auto` starts it beside that one; --endpoints names that one");
            return Err(failure(what, next).into());
        }
        Ok(connection)
    }

    /// Whether the cluster that answers is an instance of the workspace's, by the record of a running one, whatever led
    /// there.
    pub(crate) fn is_own_instance(&self, connection: &Connection) -> bool {
        let instances = std::fs::read_dir(&self.global.home).into_iter().flatten().flatten();
        let mut running = instances.filter_map(|dir| Instance::running(&dir.path().join("instance.json")).ok()?);
        connection.cluster_id().is_some_and(|answers| running.any(|one| one.cluster_id == Some(answers)))
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

    /// What to do about a server that does not answer, which depends on what led there.
    pub(crate) fn next_step(&self, kind: &Kind) -> Option<String> {
        let name = match self.source() {
            Source::Variable(_) if matches!(kind, Kind::Unreachable | Kind::TimedOut) => {
                let way_out = "unset it, or give `--instance default` for the workspace's own etcd";
                return Some(format!("ETCD_ENDPOINTS leads there: {way_out}"));
            }
            Source::Flag(_) | Source::Variable(_) => DEFAULT.to_owned(),
            Source::Instance(name) => name,
        };
        match kind {
            Kind::Unreachable => {
                Some(format!("`{}` starts an etcd; `--endpoints` names another", of_instance("etcd-up", &name)))
            }
            Kind::TimedOut => {
                let status = of_instance("etcd-status", &name);
                Some(format!("`{status}` shows whether it is well; `--timeout` waits longer"))
            }
            Kind::Compacted { .. } if !self.has_revision => {
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
