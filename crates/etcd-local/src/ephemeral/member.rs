//! A member of an ephemeral cluster: its server, which can be stopped, killed and started again. Knows no other members but
//! their addresses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use etcd_workspace::ClusterId;
use semver::Version;

use super::directory::MEMBER_LOCK;
use super::{Ephemeral, EphemeralError, FailedLaunch};
use crate::binary::Binary;
use crate::data::{DataDir, cluster};
use crate::file::cannot;
use crate::lock::Lock;
use crate::os::{self, Lifetime};
use crate::reporter::{Event, Reporter};
use crate::server::election;
use crate::server::health::HealthError;
use crate::server::launch::{Durability, Launch, Launched, Ready};
use crate::server::launch_error::LaunchError;
use crate::server::leader::{self, View};
use crate::server::log;
use crate::server::ports::Address;
use crate::server::users::Root;
use crate::wait::Deadline;

/// How long a member may take to end by itself: a leader hands the leadership over first, which may take 5 s.
const GRACE: Duration = Duration::from_secs(10);

const LOG: &str = "etcd.log";

/// A member of an [`Ephemeral`] cluster.
pub struct Member {
    address: Address,
    binary: Binary,
    id: u64,
    is_alone: bool,
    dir: PathBuf,
    log: PathBuf,
    data: DataDir,
    server: Mutex<Launched>,
    /// Whether the caller wants it to run.
    is_to_run: AtomicBool,
    reporter: Arc<dyn Reporter>,
}

/// A member whose directory is there, and that was not started yet.
pub(super) struct Prepared {
    address: Address,
    binary: Binary,
    id: u64,
    dir: PathBuf,
    data: DataDir,
}

impl Prepared {
    pub(super) fn new(
        etcd: &Ephemeral,
        address: &Address,
        binary: &Binary,
        token: &str,
    ) -> Result<Self, EphemeralError> {
        let dir = etcd.dir.path().join(&address.name);
        os::create_private_dir(&dir).map_err(cannot("create", &dir))?;
        let mut data = DataDir::create(&dir.join("data"), etcd.dir.path(), token.to_owned())?;
        let peer_urls: Vec<String> = etcd.cluster.iter().map(|member| member.ports.peer_url()).collect();
        data.claim(&peer_urls, &binary.version)?;
        let id = cluster::member_id(&address.ports.peer_url(), token);
        Ok(Self { address: address.clone(), binary: binary.clone(), id, dir, data })
    }

    pub(super) fn start(self, etcd: &Ephemeral) -> Result<Member, EphemeralError> {
        let Self { address, binary, id, dir, data } = self;
        let server = Mutex::new(spawn(etcd, &address, &binary, &dir, &data)?);
        Ok(Member {
            address,
            binary,
            id,
            is_alone: etcd.cluster.len() == 1,
            log: dir.join(LOG),
            dir,
            data,
            server,
            is_to_run: AtomicBool::new(true),
            reporter: Arc::clone(&etcd.builder.reporter),
        })
    }
}

impl Member {
    pub(super) fn restart(&self, etcd: &Ephemeral) -> Result<(), EphemeralError> {
        let mut server = self.server();
        *server = spawn(etcd, &self.address, &self.binary, &self.dir, &self.data)?;
        self.is_to_run.store(true, Relaxed);
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.address.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.binary.version
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary.path
    }

    /// Its id, which etcd writes in hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its client URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.ports.client_url()
    }

    /// Where it answers in plain HTTP, also if its clients speak TLS: `/health` and `/metrics`.
    #[must_use]
    pub fn plain_url(&self) -> String {
        self.address.ports.plain_url()
    }

    /// Its URL for other members.
    #[must_use]
    pub fn peer_url(&self) -> String {
        self.address.ports.peer_url()
    }

    /// Its process, or the one that it had last.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server().child.running.identity.pid
    }

    /// Its server's log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether its server lives.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.server().child.running.has_ended()
    }

    /// Whether its server has ended without [`Member::stop`] or [`Member::kill`].
    #[must_use]
    pub fn has_ended_by_itself(&self) -> bool {
        self.is_to_run.load(Relaxed) && !self.is_running()
    }

    /// Asks its server to end, and waits until it has: a second, and some more while it has watches open. A leader hands the
    /// leadership over first. After ten seconds it is killed.
    ///
    /// # Errors
    /// If it lives on.
    pub fn stop(&self) -> Result<(), EphemeralError> {
        self.report_end(|member| Event::Stopping { member });
        self.server().child.running.stop(GRACE).map_err(|source| self.cannot_stop(source))
    }

    /// Kills its server, and waits until it is gone.
    ///
    /// # Errors
    /// If it lives on.
    pub fn kill(&self) -> Result<(), EphemeralError> {
        self.report_end(|member| Event::Killing { member });
        self.end_at_once()
    }

    /// The same, without a report.
    pub(super) fn end_at_once(&self) -> Result<(), EphemeralError> {
        self.server().child.running.kill().map_err(|source| self.cannot_stop(source))
    }

    /// Reports the end before it comes, while etcd still answers.
    fn report_end(&self, event: impl FnOnce(String) -> Event) {
        if self.is_running() {
            self.is_to_run.store(false, Relaxed);
            self.reporter.report(&event(self.name().to_owned()));
        }
    }

    fn cannot_stop(&self, source: io::Error) -> EphemeralError {
        EphemeralError::Stop { member: self.name().to_owned(), source }
    }

    pub(super) fn wait_for_peer_port(&self, timeout: Duration) -> Result<(), Box<FailedLaunch>> {
        self.server().wait_for_peer_port(timeout).map_err(|error| self.failed(error))
    }

    /// Asks it to stand for election, which it does as soon as it can, until the deadline passes or nobody holds `is_wanted`.
    /// By then no member may have been elected: a second election would lose what members have proposed to the first leader,
    /// and they propose it again only after five seconds. Without this the members elect one when a timeout has passed, as they
    /// do where they speak TLS among each other.
    pub(super) fn request_election(&self, deadline: Deadline, is_wanted: Weak<()>) {
        let Some(cluster) = self.cluster_id().filter(|_| !self.address.ports.tls.peers) else { return };
        let (peer, id) = (self.peer_url(), self.id);
        let request = move || election::request_of(&peer, cluster, id, deadline, || is_wanted.strong_count() > 0);
        drop(std::thread::Builder::new().name("etcd-election".to_owned()).spawn(request));
    }

    /// What it knows of its cluster; `None`: it does not answer, or another does in its place.
    pub(super) fn view(&self, root: Option<&Root>) -> Result<Option<View>, EphemeralError> {
        match leader::view(&self.plain_url(), root) {
            Ok(view) => Ok(Some(view).filter(|view| view.member == self.id && self.cluster_id() == Some(view.cluster))),
            Err(source @ HealthError::NeedsUser(_)) => {
                Err(EphemeralError::Member { member: self.name().to_owned(), source })
            }
            Err(_) => Ok(None),
        }
    }

    fn cluster_id(&self) -> Option<ClusterId> {
        self.data.marker.as_ref()?.cluster_id
    }

    fn failed(&self, error: LaunchError) -> Box<FailedLaunch> {
        failed(&self.address, self.is_alone, &self.log, error)
    }

    fn server(&self) -> MutexGuard<'_, Launched> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until all are proven ready; the first whose server ends instead ends the wait.
pub(super) fn wait_ready(members: &[Member], timeout: Duration) -> Result<Vec<Ready>, Box<FailedLaunch>> {
    let begin = |member: &Member| member.server().begin_wait(timeout).map_err(|error| member.failed(error));
    let mut waits = members.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut ready = Vec::new();
        for (member, wait) in members.iter().zip(&mut waits) {
            let found = member.server().look(wait);
            ready.extend(found.map_err(|error| member.failed(error))?);
        }
        if ready.len() == members.len() {
            return Ok(ready);
        }
    }
}

fn spawn(
    etcd: &Ephemeral,
    address: &Address,
    binary: &Binary,
    dir: &Path,
    data: &DataDir,
) -> Result<Launched, EphemeralError> {
    let (log, lock) = (dir.join(LOG), dir.join(MEMBER_LOCK));
    let held = Lock::try_acquire(&lock)
        .and_then(|held| held.ok_or_else(|| io::ErrorKind::ResourceBusy.into()))
        .map_err(cannot("lock", &lock))?;
    let launch = Launch {
        binary,
        member: address,
        cluster: &etcd.cluster,
        learners: 0,
        data,
        durability: Durability::Unsynced,
        lifetime: Lifetime::Ours,
        // On existing data etcd 3.7 can panic over it, and an only member is elected soon without it.
        asks_for_election: !data.has_members(),
        tls: etcd.builder.tls.as_ref(),
        peer_tls: etcd.builder.peer_tls.as_ref(),
        extra_args: &etcd.builder.extra_args,
        log: &log,
        env: &etcd.builder.env,
    };
    Ok(launch.spawn(held).map_err(|error| failed(address, etcd.cluster.len() == 1, &log, error))?)
}

fn failed(address: &Address, is_alone: bool, log: &Path, error: LaunchError) -> Box<FailedLaunch> {
    const LINES: usize = 20;
    let member = (!is_alone).then(|| address.name.clone());
    Box::new(FailedLaunch { member, error, log: log::last_lines(log, LINES) })
}
