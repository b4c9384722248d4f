//! The etcd that tests and other commands run against: the workspace's instance, a cluster elsewhere, or an ephemeral etcd.
//! Chooses and describes it, and checks its health at the end.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use etcd_local::binary::Wanted;
use etcd_local::{Ephemeral, Member, State, Status, Tail};
use etcd_workspace::{ClientConfig, Leads, TlsScope};
use semver::Version;

use crate::advice;
use crate::certificates;
use crate::cli::{RunTarget, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::readable_log::{self, LogLine, Readable};

/// Added to the hint if an instance cannot be used.
const EPHEMERAL: &str = "; `--ephemeral` uses a separate etcd";

/// How many lines of a log are shown.
const TAIL: usize = 20;

/// An etcd to run something against.
pub(crate) enum Server {
    /// Started for this command; ends when this value is dropped.
    Ephemeral(Box<Ephemeral>),
    /// An instance of the workspace. It keeps running.
    Instance { which: Which, config: Box<ClientConfig>, version: String, log: PathBuf },
    /// A cluster elsewhere.
    Elsewhere {
        config: Box<ClientConfig>,
        /// The flags that lead another command there, with a space before them; none where the environment does.
        flag: String,
    },
}

impl Server {
    /// The etcd that the arguments ask for, else the running instance, else an ephemeral one.
    pub(crate) fn choose(args: &RunTarget, etcd: Option<&Wanted>, cx: &Context) -> Result<Self> {
        if !args.ephemeral && etcd.is_none() && args.members.is_none() && !args.tls && !args.auth {
            if let Some(elsewhere) = elsewhere(args, cx)? {
                return Ok(elsewhere);
            }
            let which = Which::named(args.instance.as_deref());
            match Self::running(&which, cx)? {
                Ok(instance) => return Ok(instance),
                // An instance that is named explicitly must be used.
                Err(stopped) if args.instance.is_some() => {
                    return Err(advice::unusable(&stopped, &which, EPHEMERAL));
                }
                Err(_) => {}
            }
        }
        if args.keep || args.keep_failed {
            let next =
                "`cargo xtask etcd-up` starts an etcd that keeps its keys; `--endpoints` uses a cluster elsewhere";
            let what = "no etcd is running that can keep the keys of the run";
            return Err(Failure::with_exit(Exit::NOT_RUNNING, what, next));
        }
        let mut builder = cx.builder()?.offline(args.offline);
        if let Some(wanted) = etcd {
            builder = builder.etcd(wanted.clone());
        }
        let mut builder = builder.members(args.members.unwrap_or(1))?.mixed(args.mixed().to_vec()).auth(args.auth);
        if args.tls {
            let dir = cx.home_of_runs()?.join(".tls");
            builder = certificates::with_made(builder, TlsScope::CLIENTS, &dir, args.network(), cx)?;
        }
        Ok(Self::Ephemeral(Box::new(builder.start_ephemeral()?)))
    }

    /// The instance, if it answers.
    ///
    /// # Errors
    /// If the instance runs and cannot be used. The user does not expect another etcd then. The inner error: it is stopped.
    fn running(which: &Which, cx: &Context) -> Result<Result<Self, Status>> {
        let instance = cx.instance(which)?;
        let status = instance.status()?;
        match status.state {
            State::Ready | State::Hidden if status.answers => {
                advice::note_differences(&instance, which, cx);
                Ok(Ok(Self::Instance {
                    which: which.clone(),
                    config: Box::new(status.client_config()?),
                    version: status.version.map(|version| version.to_string()).unwrap_or_default(),
                    log: status.log,
                }))
            }
            State::Stopped => Ok(Err(status)),
            _ => Err(advice::unusable(&status, which, EPHEMERAL)),
        }
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        match self {
            Self::Ephemeral(server) => server.endpoints(),
            Self::Instance { config, .. } | Self::Elsewhere { config, .. } => config.endpoints.clone(),
        }
    }

    /// The names of its members, and where they tell in plain HTTP what they have counted. Elsewhere, that is not known of
    /// those that speak TLS.
    pub(crate) fn plain_urls(&self, cx: &Context) -> Vec<(String, String)> {
        match self {
            Self::Ephemeral(server) => {
                server.members().iter().map(|member| (member.name().to_owned(), member.plain_url())).collect()
            }
            Self::Instance { which, .. } => cx.instance(which).map(|found| found.plain_urls()).unwrap_or_default(),
            Self::Elsewhere { config, .. } => {
                let plain = config.endpoints.iter().filter(|url| url.starts_with("http://"));
                plain.map(|url| (url.clone(), url.clone())).collect()
            }
        }
    }

    /// The program of an ephemeral etcd.
    pub(crate) fn binary(&self) -> Option<&Path> {
        match self {
            Self::Ephemeral(server) => Some(server.binary()),
            Self::Instance { .. } | Self::Elsewhere { .. } => None,
        }
    }

    /// Its version, where that is known.
    pub(crate) fn version(&self) -> Option<String> {
        match self {
            Self::Ephemeral(server) => Some(versions(server)),
            Self::Instance { version, .. } => Some(version.clone()),
            Self::Elsewhere { .. } => None,
        }
    }

    /// The version of an etcd that this command started.
    pub(crate) fn started_version(&self) -> Option<&Version> {
        match self {
            Self::Ephemeral(server) => Some(server.version()),
            Self::Instance { .. } | Self::Elsewhere { .. } => None,
        }
    }

    /// The temporary directory of an ephemeral etcd.
    pub(crate) fn temporary_dir(&self) -> Option<&Path> {
        match self {
            Self::Ephemeral(server) => Some(server.dir()),
            Self::Instance { .. } | Self::Elsewhere { .. } => None,
        }
    }

    /// Whether the etcd ends with this command, and all keys are lost.
    pub(crate) fn is_ephemeral(&self) -> bool {
        matches!(self, Self::Ephemeral(_))
    }

    /// Whether it is a cluster elsewhere, which others may use, too.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere { .. })
    }

    /// The flag with which other commands use the same etcd, with a space before it; empty if none is needed.
    pub(crate) fn flag(&self) -> String {
        match self {
            Self::Elsewhere { flag, .. } => flag.clone(),
            Self::Instance { which, .. } => which.flag(),
            Self::Ephemeral(_) => String::new(),
        }
    }

    /// How a program of ours that we start connects to it.
    pub(crate) fn client_config(&self) -> ClientConfig {
        match self {
            Self::Ephemeral(server) => server.client_config(),
            Self::Instance { config, .. } | Self::Elsewhere { config, .. } => (**config).clone(),
        }
    }

    /// Whether it is the environment that leads there: a program of ours that we start follows it, too.
    pub(crate) fn is_of_environment(&self) -> bool {
        matches!(self, Self::Elsewhere { flag, .. } if flag.is_empty())
    }

    pub(crate) fn describe(&self) -> String {
        let at = self.endpoints().join(",");
        match self {
            Self::Ephemeral(server) => match server.members().len() {
                1 => format!("an ephemeral etcd {} at {at}", server.version()),
                members => format!("an ephemeral etcd {} of {members} members at {at}", versions(server)),
            },
            Self::Instance { which, version, .. } => format!("etcd {version} `{}` at {at}", which.instance),
            Self::Elsewhere { .. } => format!("the cluster at {at}"),
        }
    }

    /// The etcd's problem, if one can be detected from here.
    pub(crate) fn problem(&self, cx: &Context) -> Option<&'static str> {
        match self {
            Self::Ephemeral(server) => (!server.is_alive()).then_some("has ended"),
            Self::Elsewhere { .. } => None,
            Self::Instance { which, .. } => match cx.instance(which).ok()?.status().ok()? {
                Status { state: State::Stopped, .. } => Some("has ended"),
                Status { answers: false, .. } => Some("does not answer"),
                _ => None,
            },
        }
    }

    fn log(&self) -> Option<PathBuf> {
        match self {
            Self::Ephemeral(server) => Some(server.log()),
            Self::Instance { log, .. } => Some(log.clone()),
            Self::Elsewhere { .. } => None,
        }
    }

    /// The last lines of its log; empty if the log is not on this machine.
    pub(crate) fn tail(&self) -> String {
        let mut text = Vec::new();
        let read =
            self.log().map(|log| Tail::open(&log, TAIL).and_then(|mut tail| tail.read(&mut Readable::new(&mut text))));
        drop(read);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The present length of its log, in bytes.
    pub(crate) fn log_length(&self) -> u64 {
        self.log().and_then(|log| fs::metadata(log).ok()).map_or(0, |log| log.len())
    }

    /// The last lines that were written to its log since it had this length, and how many came before them.
    pub(crate) fn log_since(&self, length: u64, last: usize) -> (usize, VecDeque<LogLine>) {
        let (mut left_out, mut lines) = (0, VecDeque::new());
        let Some(mut log) = self.log().and_then(|log| fs::File::open(log).ok()) else { return (0, lines) };
        // A shorter log is a new one.
        let start = if log.metadata().is_ok_and(|log| log.len() >= length) { length } else { 0 };
        if log.seek(SeekFrom::Start(start)).is_err() {
            return (0, lines);
        }
        let read = BufReader::new(log).split(b'\n').map_while(Result::ok);
        for line in read.filter_map(|line| readable_log::parse(&line)) {
            lines.push_back(line);
            if lines.len() > last {
                lines.pop_front();
                left_out += 1;
            }
        }
        (left_out, lines)
    }

    /// The path of its log after this command. The log of an ephemeral etcd is copied first.
    pub(crate) fn lasting_log(&self, name: &str, cx: &Context) -> Result<Option<PathBuf>> {
        let Some(log) = self.log().filter(|_| self.is_ephemeral()) else { return Ok(self.log()) };
        let copy = cx.home_of_runs()?.join(name);
        fs::copy(&log, &copy).with_context(|| format!("cannot copy the log to `{}`", copy.display()))?;
        Ok(Some(copy))
    }
}

/// The version of its members, or their versions.
fn versions(server: &Ephemeral) -> String {
    let versions: BTreeSet<_> = server.members().iter().map(Member::version).collect();
    versions.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A cluster that a flag or the environment names. A flag beats the environment, also one that names an instance.
fn elsewhere(args: &RunTarget, cx: &Context) -> Result<Option<Server>> {
    let (leads, config) = cx.client_config(&args.client, args.instance.is_some())?;
    let flag = match leads {
        Leads::Instance => return Ok(None),
        Leads::Variables => String::new(),
        Leads::Endpoints | Leads::Cluster => {
            args.client.flags().iter().fold(String::new(), |mut flags, (name, value)| {
                flags.extend([" ", name, if value.is_empty() { "" } else { " " }, value]);
                flags
            })
        }
    };
    Ok(Some(Server::Elsewhere { config: Box::new(config), flag }))
}
