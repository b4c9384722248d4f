//! How local etcds are set up: settings, timeouts, who hears of it. Starts nothing by itself.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcd_workspace::{TlsFiles, TlsScope};

use crate::binary::{Binaries, Wanted};
use crate::env::Env;
use crate::reporter::{Event, OfBinaries, Reporter, Silent};
use crate::server::free_ports::FreePorts;
use crate::server::membership::{ByGateway, Membership};
use crate::settings::{Port, Settings, SettingsError, member_name};

/// Sets up local etcds; see the crate's documentation for an example.
#[derive(Clone)]
pub struct Builder {
    pub(crate) env: Env,
    pub(crate) workspace: PathBuf,
    pub(crate) settings: Settings,
    /// What a setter said, which a server that runs already must agree with.
    pub(crate) requested: Requested,
    pub(crate) start_timeout: Duration,
    pub(crate) extra_args: Vec<String>,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) offline: bool,
    /// How many members a new cluster has that vote.
    pub(crate) members: usize,
    /// How many learners the cluster of a member has.
    pub(crate) learners: usize,
    /// Which etcds the members of an ephemeral cluster run, in turn; empty: the one in the settings.
    pub(crate) mixed: Vec<Wanted>,
    /// Whether an ephemeral cluster has users.
    pub(crate) auth: bool,
    /// The certificates, if clients speak TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// The certificates, if servers speak TLS among each other.
    pub(crate) peer_tls: Option<TlsFiles>,
    /// Who changes the members of an instance.
    pub(crate) membership: Arc<dyn Membership>,
}

/// What was asked for plainly, not by a default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requested {
    pub(crate) port: Option<u16>,
    pub(crate) peer_port: Option<u16>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) version: Option<Wanted>,
    pub(crate) members: Option<usize>,
    pub(crate) learners: Option<usize>,
}

impl Requested {
    /// Whether it takes several members.
    pub(crate) fn is_several(&self) -> bool {
        self.members.is_some_and(|members| members > 1) || self.learners.is_some_and(|learners| learners > 0)
    }
}

/// A number of members that no cluster of ours has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a cluster cannot have {0} members: it has 1, 3, 5 or 7; with an even number it would survive no more failures than \
     with one member less"
)]
pub struct MembersError(usize);

impl Builder {
    /// A builder for the workspace at `workspace`, with the settings of its `Cargo.toml` and of `env`.
    ///
    /// # Errors
    /// If those settings cannot be read or used.
    pub fn new(env: Env, workspace: impl Into<PathBuf>) -> Result<Self, SettingsError> {
        let workspace = env.cwd().join(workspace.into());
        let settings = Settings::load(&workspace, &env)?;
        Ok(Self::with_settings(env, workspace, settings))
    }

    /// A builder that reads no manifest.
    #[must_use]
    pub fn with_settings(env: Env, workspace: impl Into<PathBuf>, settings: Settings) -> Self {
        let workspace = env.cwd().join(workspace.into());
        Self {
            env,
            workspace,
            start_timeout: settings.start_timeout,
            settings,
            requested: Requested::default(),
            extra_args: Vec::new(),
            reporter: Arc::new(Silent),
            offline: false,
            members: 1,
            learners: 0,
            mixed: Vec::new(),
            auth: false,
            tls: None,
            peer_tls: None,
            membership: Arc::new(ByGateway),
        }
    }

    /// The client port.
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.requested.port = fixed(port);
        self.settings.set_port(port);
        self
    }

    /// The peer port.
    #[must_use]
    pub fn peer_port(mut self, port: Port) -> Self {
        self.requested.peer_port = fixed(port);
        self.settings.set_peer_port(port);
        self
    }

    /// The data directory; a relative one is taken from the working directory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        let dir = self.env.cwd().join(dir.into());
        self.requested.data_dir = Some(dir.clone());
        self.settings.data_dir = Some(dir);
        self
    }

    /// Which etcd to run.
    #[must_use]
    pub fn etcd(mut self, wanted: Wanted) -> Self {
        self.requested.version = Some(wanted.clone());
        self.settings.wanted = wanted;
        self
    }

    /// Which etcds the members of an [`Ephemeral`](crate::Ephemeral) cluster run in turn. None: the one of the settings.
    #[must_use]
    pub fn mixed(mut self, etcds: Vec<Wanted>) -> Self {
        self.mixed = etcds;
        self
    }

    /// How long a start may take, from spawn to proven ready; as the settings say, else.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// One more flag for etcd, like `--quota-backend-bytes=16777216`; it beats one of ours.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.extra_args.push(arg.into());
        self
    }

    /// Never use the network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// How many members a cluster has, an [`Ephemeral`](crate::Ephemeral) one or a new [`Instance`](crate::Instance):
    /// 1, 3, 5 or 7; one, else.
    ///
    /// # Errors
    /// If the number is another one.
    pub fn members(mut self, members: usize) -> Result<Self, MembersError> {
        if !matches!(members, 1 | 3 | 5 | 7) {
            return Err(MembersError(members));
        }
        self.members = members;
        self.requested.members = Some(members);
        Ok(self)
    }

    /// How many learners a new [`Instance`](crate::Instance) has beside its members; as the settings say, else. A learner gets all
    /// keys, does not vote, and is none of the endpoints.
    #[must_use]
    pub fn learners(mut self, learners: usize) -> Self {
        self.requested.learners = Some(learners);
        self
    }

    /// Whether authentication is on in an [`Ephemeral`](crate::Ephemeral) cluster, whose one user is
    /// [`Ephemeral::root`](crate::Ephemeral::root).
    #[must_use]
    pub fn auth(mut self, auth: bool) -> Self {
        self.auth = auth;
        self
    }

    /// Clients speak TLS, with the certificates in these files, and show one.
    #[must_use]
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Servers speak TLS among each other, with the certificates in these files.
    #[must_use]
    pub fn peer_tls(mut self, files: TlsFiles) -> Self {
        self.peer_tls = Some(files);
        self
    }

    pub(crate) fn tls_scope(&self) -> TlsScope {
        TlsScope { clients: self.tls.is_some(), peers: self.peer_tls.is_some() }
    }

    /// Who lists and changes the members of an instance of several, where [`ByGateway`] cannot.
    #[must_use]
    pub fn membership(mut self, membership: Arc<dyn Membership>) -> Self {
        self.membership = membership;
        self
    }

    /// Who hears what happens.
    #[must_use]
    pub fn reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Another environment, with the settings as they are.
    #[must_use]
    pub fn environment(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The settings as they stand.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The binaries of this machine, as this builder sees them.
    #[must_use]
    pub fn binaries(&self) -> Binaries {
        Binaries::new(self.env.clone(), self.workspace.clone())
            .reporter(Arc::new(OfBinaries(Arc::clone(&self.reporter))))
            .offline(self.offline)
    }

    /// Chooses ports for the instance or ephemeral etcd in the directory `owner`.
    pub(crate) fn free_ports(&self, range: Range<u16>, owner: &Path) -> FreePorts {
        let claims = self.binaries().cache_dir().ok().map(|cache| cache.join("ports"));
        FreePorts { range, host: self.settings.host, tls: self.tls_scope(), owner: owner.to_owned(), claims }
    }

    /// Says so where a server that is about to start listens beyond this machine.
    pub(crate) fn report_exposure(&self) {
        let host = self.settings.host;
        if !host.is_loopback() {
            self.reporter.report(&Event::Exposed { host });
        }
    }

    /// The member's name: as set, else the host's.
    pub(crate) fn member(&self) -> String {
        let host = || crate::os::host_name().or_else(|| self.env.var("COMPUTERNAME").map(str::to_owned));
        let host = || host().and_then(|name| member_name(&name).ok()).filter(|name| !name.is_empty());
        self.settings.member.clone().or_else(host).unwrap_or_else(|| "default".to_owned())
    }
}

fn fixed(port: Port) -> Option<u16> {
    match port {
        Port::Fixed(port) => Some(port),
        Port::Auto => None,
    }
}
