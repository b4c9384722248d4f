//! Ephemeral clusters, of one member or several: servers and a temporary directory that go with their owner, whether it
//! drops them, panics, or is killed. Nothing here is meant to survive anything.

mod directory;
mod janitor;
mod member;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_workspace::{ClientConfig, ClusterId, Password, TlsFiles};
use semver::Version;

use self::directory::{LEVELS, make_dir, sweep};
use self::janitor::Janitor;
pub use self::member::Member;
use self::member::Prepared;
use crate::binary::{Binary, FindError};
use crate::builder::Builder;
use crate::data::{self, DataError};
use crate::file::{PathError, cannot};
use crate::lock::Lock;
use crate::reporter::Event;
use crate::server::free_ports::OF_EPHEMERAL;
use crate::server::health::HealthError;
use crate::server::launch::{self, Durability};
use crate::server::launch_error::LaunchError;
use crate::server::leader;
use crate::server::ports::Address;
use crate::server::users::Root;
use crate::wait::{Deadline, until};

/// A running etcd on free loopback ports, without fsync, whose data goes with it: one server, or as many as
/// [`Builder::members`] says. Dropped, all servers are killed at once and the directory is deleted. If its owner is killed
/// the system ends the servers, and the directory goes at once (Unix) or at the next start of an ephemeral etcd (Windows).
pub struct Ephemeral {
    // Dropped in this order: servers, lock (Windows deletes no open file), directory, janitor.
    members: Vec<Member>,
    _owner: Lock,
    dir: tempfile::TempDir,
    janitor: Mutex<Janitor>,
    cluster: Vec<Address>,
    builder: Builder,
    cluster_id: ClusterId,
    version: Version,
    ready_after: Duration,
    root: Option<Root>,
}

/// Why an ephemeral etcd is not ready, or does not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EphemeralError {
    /// No binary.
    #[error(transparent)]
    Binary(#[from] FindError),
    /// etcd makes no cluster of such members: one may be of the next minor version, as in the middle of an upgrade.
    #[error("etcd {oldest} and {newest} cannot be members of one cluster: they are more than one minor version apart")]
    Apart {
        /// The oldest version that was asked for.
        oldest: Version,
        /// The newest version.
        newest: Version,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The launch failed.
    #[error(transparent)]
    Launch(#[from] Box<FailedLaunch>),
    /// The temporary directory cannot be set up.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A member does not end.
    #[error("cannot stop the member `{member}`")]
    Stop {
        /// The member.
        member: String,
        /// What the system said.
        source: io::Error,
    },
    /// The members do not agree on a leader.
    #[error("the members did not agree on a leader within {} s", waited.as_secs_f32())]
    NoLeader {
        /// How long we waited.
        waited: Duration,
    },
    /// A member does not say who leads: authentication is on, say, and this asks without a user.
    #[error("cannot ask the member `{member}` for its leader")]
    Member {
        /// The member.
        member: String,
        /// What it said.
        source: HealthError,
    },
    /// Authentication cannot be switched on.
    #[error("cannot switch authentication on")]
    Auth(#[source] HealthError),
    /// The leader does not hand over the leadership.
    #[error("cannot move the leadership to the member `{to}`")]
    Leadership {
        /// The member that was to lead.
        to: String,
        /// What the leader said.
        source: HealthError,
    },
}

/// A launch that failed, with the end of a log that is gone by now.
#[derive(Debug)]
pub struct FailedLaunch {
    /// Which member of a cluster; `None`: the only one.
    pub member: Option<String>,
    /// Why. A path in it to the log leads nowhere.
    pub error: LaunchError,
    /// The last lines of the server's log, each shortened; empty if it had said nothing.
    pub log: String,
}

impl fmt::Display for FailedLaunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(member) = &self.member {
            write!(f, "the member `{member}` failed: ")?;
        }
        self.error.fmt(f)?;
        if !self.log.is_empty() {
            f.write_str("; its log ended with")?;
        }
        self.log.lines().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Error for FailedLaunch {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Builder {
    /// Starts an etcd that goes with its owner: see [`Ephemeral`].
    ///
    /// # Errors
    /// If a server does not become ready.
    pub fn start_ephemeral(&self) -> Result<Ephemeral, EphemeralError> {
        const ATTEMPTS: usize = 5;
        sweep(self.env.temp_dir());
        let wanted = if self.mixed.is_empty() { std::slice::from_ref(&self.settings.wanted) } else { &self.mixed };
        let binaries = wanted.iter().map(|wanted| self.binaries().find(wanted)).collect::<Result<Vec<_>, _>>()?;
        let versions = || binaries.iter().map(|binary| &binary.version);
        if let (Some(oldest), Some(newest)) = (versions().min(), versions().max())
            && data::is_jump(oldest, newest)
        {
            return Err(EphemeralError::Apart { oldest: oldest.clone(), newest: newest.clone() });
        }
        self.report_exposure();
        let mut attempt = 1;
        loop {
            match Ephemeral::start(self, &binaries) {
                // Somebody took the port between our look and etcd's bind.
                Err(EphemeralError::Launch(failed))
                    if attempt < ATTEMPTS && matches!(failed.error, LaunchError::PortTaken { .. }) =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

impl Ephemeral {
    fn start(builder: &Builder, binaries: &[Binary]) -> Result<Self, EphemeralError> {
        let (dir, owner) = make_dir(builder.env.temp_dir())?;
        // What a start fails with may be that no file can be opened; deleting opens one a level.
        let reserve = owner.reserve(LEVELS).map_err(cannot("hold files in reserve for", dir.path()))?;
        let janitor = Janitor::start(dir.path()).map_err(cannot("start the janitor of", dir.path()))?;
        let free = builder.free_ports(OF_EPHEMERAL, dir.path());
        let ports = free
            .of_members(builder.members)
            .map_err(|error| Box::new(FailedLaunch { member: None, error, log: String::new() }))?;
        let name = |number| if builder.members == 1 { "ephemeral".to_owned() } else { format!("m{number}") };
        let cluster = (1..).zip(ports).map(|(number, ports)| Address { name: name(number), ports }).collect();
        let mut etcd = Self {
            members: Vec::new(),
            _owner: owner,
            dir,
            janitor: Mutex::new(janitor),
            cluster,
            builder: builder.clone(),
            cluster_id: ClusterId(0),
            version: Version::new(0, 0, 0),
            ready_after: Duration::ZERO,
            root: None,
        };
        let started = etcd.start_members(binaries);
        drop(reserve);
        started.map(|()| etcd)
    }

    /// One after the other, each as soon as the one before answers its peers: a member that finds another's port open, but
    /// silent, waits for a whole second.
    fn start_members(&mut self, binaries: &[Binary]) -> Result<(), EphemeralError> {
        let began = Instant::now();
        let first_election = Deadline::after(launch::no_election_before(Durability::Unsynced));
        let is_starting = Arc::new(());
        let token = data::fresh_token()?;
        for (address, binary) in self.cluster.iter().zip(binaries.iter().cycle()) {
            let prepared = Prepared::new(self, address, binary, &token)?;
            if let Some(before) = self.members.last() {
                before.wait_for_peer_port(self.builder.start_timeout)?;
                if self.members.len() == self.majority() {
                    before.request_election(first_election, Arc::downgrade(&is_starting));
                }
            }
            let member = prepared.start(self)?;
            self.look_after(&member);
            self.members.push(member);
        }
        let ready = member::wait_ready(&self.members, self.builder.start_timeout)?;
        // An only member has nobody to agree with.
        if self.members.len() > 1 {
            self.wait_for_leader(self.members.len(), |_| true)?;
        }
        if let Some(first) = self.members.first().filter(|_| self.builder.auth) {
            self.root = Some(Root::enable(&first.plain_url()).map_err(EphemeralError::Auth)?);
        }
        self.ready_after = began.elapsed();
        if let Some(ready) = ready.into_iter().next() {
            (self.cluster_id, self.version) = (ready.cluster_id, ready.version);
        }
        Ok(())
    }

    fn look_after(&self, member: &Member) {
        self.janitor.lock().unwrap_or_else(PoisonError::into_inner).look_after(member.pid());
    }

    /// Its members, in the order of their names, `m1` and so on.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member that leads, as a majority of all members says. While there is none, it is waited for, as long as a start
    /// may take.
    ///
    /// # Errors
    /// If there is none by then, as with most members stopped; or a test switched authentication on, and etcd 3.7 tells nobody.
    pub fn leader(&self) -> Result<&Member, EphemeralError> {
        self.wait_for_leader(self.majority(), |_| true)
    }

    /// Waits until so many members know the same leader, which knows it, too.
    fn wait_for_leader(&self, told_by: usize, is_wanted: impl Fn(&Member) -> bool) -> Result<&Member, EphemeralError> {
        let waited = self.builder.start_timeout;
        let found = until(Deadline::after(waited), || {
            let running = self.members.iter().filter(|member| member.is_running());
            let views = running.map(|member| member.view(self.root.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let leads = |member: &&Member| {
                let of_it = views.iter().flatten().filter(|view| view.leader == member.id());
                of_it.clone().count() >= told_by && of_it.clone().any(|view| view.member == member.id())
            };
            Ok::<_, EphemeralError>(self.members.iter().find(leads).filter(|leader| is_wanted(leader)))
        })?;
        found.ok_or(EphemeralError::NoLeader { waited })
    }

    fn majority(&self) -> usize {
        self.cluster.len() / 2 + 1
    }

    /// Hands the leadership over to `to`, and waits until a majority of the members knows.
    ///
    /// # Errors
    /// If the leader refuses, as it does where `to` is not running, or nobody leads.
    pub fn move_leadership(&self, to: &Member) -> Result<(), EphemeralError> {
        let leader = self.leader()?;
        if leader.id() != to.id() {
            let refused = |source| EphemeralError::Leadership { to: to.name().to_owned(), source };
            leader::transfer(&leader.plain_url(), self.root.as_ref(), to.id()).map_err(refused)?;
        }
        self.wait_for_leader(self.majority(), |leader| leader.id() == to.id())?;
        self.builder.reporter.report(&Event::LeadershipMoved { to: to.name().to_owned() });
        Ok(())
    }

    /// Starts a member again, on its data and its ports, and waits until it is ready. Where most members are stopped, none
    /// can be ready: then it waits until the member answers its peers. A member that runs is left alone.
    ///
    /// # Errors
    /// If it does not start, or somebody took one of its ports meanwhile.
    pub fn restart(&self, member: &Member) -> Result<(), EphemeralError> {
        if member.is_running() {
            return Ok(());
        }
        member.restart(self)?;
        self.look_after(member);
        let timeout = self.builder.start_timeout;
        if self.members.iter().filter(|member| member.is_running()).count() < self.majority() {
            member.wait_for_peer_port(timeout)?;
        } else {
            member::wait_ready(std::slice::from_ref(member), timeout)?;
        }
        self.builder.reporter.report(&Event::Restarted { member: member.name().to_owned() });
        Ok(())
    }

    /// Client URLs, of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// How clients reach it: as its user, and with its certificates.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let files = self.builder.tls.as_ref();
        let (cert, key) = files.map(TlsFiles::client).unzip();
        ClientConfig {
            endpoints: self.endpoints(),
            cacert: files.map(TlsFiles::ca),
            cert,
            key,
            user: self.root.as_ref().map(|_| Root::NAME.to_owned()),
            password: self.root.as_ref().map(|root| Password::new(root.password())),
            ..ClientConfig::default()
        }
    }

    /// The cluster's user, with [`Builder::auth`].
    #[must_use]
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The first member's version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The first member's program.
    #[must_use]
    pub fn binary(&self) -> &Path {
        self.members.first().map_or(Path::new(""), Member::binary)
    }

    /// The first member's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.members.first().map_or(0, Member::pid)
    }

    /// From the making of the first member's directory to all members proven ready.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The temporary directory. Each member has one in it, of its name, with its `data` and its log as `etcd.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The first member's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.members.first().map_or_else(PathBuf::new, |member| member.log().to_owned())
    }

    /// Whether all servers still live.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.members.iter().all(Member::is_running)
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        // Nothing is to be saved, so nothing is asked.
        self.members.iter().for_each(|member| drop(member.end_at_once()));
    }
}
