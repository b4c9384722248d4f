//! `up`: from whatever is there to a proven-ready server, started at most once however many ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::{NotYours, Record};
use semver::Version;

use super::member_error::MemberError;
use super::observe::{ObserveError, Presence, Server, probe};
use super::record;
use super::{Instance, State, Status};
use crate::binary::{Binary, FindError, Wanted};
use crate::data::{DataDir, DataError, Trash};
use crate::file::{self, PathError, cannot};
use crate::lock::{Lock, LockError};
use crate::os::Lifetime;
use crate::process::Running;
use crate::reporter::Event;
use crate::server::launch::Launched;
use crate::server::launch_error::LaunchError;
use crate::server::log;
use crate::server::ports::{PortKind, Ports};
use crate::server::readiness::Probe;
use crate::wait::{Deadline, until};
use crate::{instance, os};

/// What [`Instance::up`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The instance, ready.
    pub status: Status,
    /// Whether this call started it.
    pub started: bool,
}

/// A server that this process started and that ends with it.
pub struct Foreground {
    /// The instance, ready.
    pub status: Status,
    launched: Launched,
}

impl Foreground {
    /// Waits at most `timeout` for the server's end.
    pub fn ended_within(&mut self, timeout: Duration) -> Option<std::process::ExitStatus> {
        self.launched.child.exited_within(timeout)
    }
}

/// Why no server is ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No binary.
    #[error(transparent)]
    Binary(#[from] FindError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The launch failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Another command is busy with the instance.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What is there cannot be found out.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// A server runs already, and this call was to be the one that starts it.
    #[error("etcd `{instance}` is already running as pid {pid}")]
    AlreadyUp {
        /// The instance.
        instance: String,
        /// The server's process.
        pid: u32,
    },
    /// A server runs that is not as asked.
    #[error("instance `{instance}` is already running with {what} {running}, not {asked}")]
    Conflict {
        /// The instance.
        instance: String,
        /// Which setting.
        what: &'static str,
        /// How it runs.
        running: String,
        /// What was asked for.
        asked: String,
    },
    /// A server runs that only its end can be brought in order with.
    #[error("etcd `{instance}` {} (pid {})", State::Orphaned, join(pids))]
    Orphaned {
        /// The instance.
        instance: String,
        /// The server's processes.
        pids: Vec<u32>,
        /// Where it answers.
        endpoints: Vec<String>,
        /// Whether its data directory is there still; else what it has is lost when it ends.
        has_data: bool,
    },
    /// A server runs whose record is lost, on a system that does not show its arguments.
    #[error("the server of `{instance}` runs as pid {pid}, but its record was damaged")]
    RecordLost {
        /// The instance.
        instance: String,
        /// The server's process.
        pid: u32,
    },
    /// A server runs and does not become ready.
    #[error("the server of `{instance}` runs as pid {pid}, but is not ready: {reason}")]
    Unready {
        /// The instance.
        instance: String,
        /// The server's process.
        pid: u32,
        /// Its last answer.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// What was decided when the instance was created, and cannot be changed.
    #[error("instance `{instance}` was created with {what} {has}, not {asked}")]
    Created {
        /// The instance.
        instance: String,
        /// Which setting.
        what: &'static str,
        /// How it was created.
        has: String,
        /// What was asked for.
        asked: String,
    },
    /// Only an instance of one member can end with this process.
    #[error("instance `{instance}` has several members, which cannot run in the foreground")]
    SeveralMembers {
        /// The instance.
        instance: String,
    },
    /// Something cannot be done with a member.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Members end while they should become ready.
    #[error("members of `{instance}` end again and again before all are ready")]
    Unstable {
        /// The instance.
        instance: String,
    },
    /// The instance's own directory cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl StartError {
    pub(super) fn is_port_taken(&self) -> bool {
        let launch = match self {
            Self::Launch(error) => error,
            Self::Member(MemberError::Port { source, .. }) => source,
            _ => return false,
        };
        matches!(launch, LaunchError::PortTaken { .. })
    }
}

impl Instance {
    /// Makes sure that an instance of one member runs and is ready.
    pub(super) fn up_member(&self) -> Result<Up, StartError> {
        // The common case, a second `up`, needs neither a binary nor the right to change anything.
        let seen = self.look()?;
        let status = self.status_of(&seen);
        match status.state {
            State::Ready => {
                self.check_requested(&status, seen.record.as_ref())?;
                if seen.is_recorded() {
                    return Ok(Up { status, started: false });
                }
                if let Some(up) = self.adopt()? {
                    return Ok(up);
                }
            }
            State::Hidden if status.answers => {
                self.check_requested(&status, seen.record.as_ref())?;
                return Ok(Up { status, started: false });
            }
            State::Hidden => return Err(self.hidden(seen.record.as_ref()).into()),
            State::Orphaned => return Err(self.orphaned(seen.record.as_ref(), seen.processes())),
            State::Starting | State::NoQuorum | State::Stopped => {}
        }
        self.check_ports()?;
        self.create_dir()?;
        let binary = self.builder.binaries().find(&self.builder.settings.wanted)?;
        let _operation = self.begin_operation()?;
        loop {
            match self.observe()? {
                // A server that ends instead of becoming ready was on its way down, or its start had failed. Nobody
                // else can start another now, so that the next look finds none.
                Presence::Present(server) => match self.await_running(server)? {
                    Some(up) => {
                        self.finish_wiping(&up.status.data_dir);
                        return Ok(up);
                    }
                    None => continue,
                },
                Presence::Absent { lock, record } => {
                    let data_dir = self.next_data_dir(record.as_ref());
                    let started = self.start(&binary, lock, record.as_ref(), &data_dir, Lifetime::Detached)?;
                    self.finish_wiping(&data_dir);
                    return Ok(Up { status: started.status, started: true });
                }
            }
        }
    }

    /// Writes the record of a server anew that only we find without it; `None` if it has ended.
    fn adopt(&self) -> Result<Option<Up>, StartError> {
        let _operation = self.begin_operation()?;
        match self.observe()? {
            Presence::Present(server) => self.await_running(server),
            Presence::Absent { .. } => Ok(None),
        }
    }

    /// Starts a server that ends with this process, however that ends.
    ///
    /// # Errors
    /// If it does not become ready, one runs already, or the instance has several members.
    pub fn up_in_foreground(&self) -> Result<Foreground, StartError> {
        self.refuse_several_members()?;
        self.check_ports()?;
        self.create_dir()?;
        let binary = self.builder.binaries().find(&self.builder.settings.wanted)?;
        let _operation = self.begin_operation()?;
        match self.observe()? {
            Presence::Present(server) if server.is_orphan => {
                Err(self.orphaned(server.record.as_ref(), &server.processes))
            }
            Presence::Present(server) => Err(StartError::AlreadyUp { instance: self.name.clone(), pid: server.pid() }),
            Presence::Absent { lock, record } => {
                self.start(&binary, lock, record.as_ref(), &self.next_data_dir(record.as_ref()), Lifetime::Ours)
            }
        }
    }

    /// How long a command waits for another that changes the same instance: longer than a start may take.
    pub(super) fn operation_timeout(&self) -> Duration {
        self.builder.start_timeout.saturating_add(Duration::from_secs(30))
    }

    pub(super) fn begin_operation(&self) -> Result<Lock, LockError> {
        let lock = self.operation_lock();
        for dir in [&instance::home(&self.builder.workspace, &self.builder.env), &self.dir] {
            NotYours::check(dir).map_err(|source| LockError::Io { path: lock.clone(), source })?;
        }
        let held = Lock::acquire(&lock, self.operation_timeout(), || {
            self.builder.reporter.report(&Event::Waiting { lock: lock.clone() });
        })?;
        file::remove_scratch(&self.dir);
        Ok(held)
    }

    pub(super) fn create_dir(&self) -> Result<(), StartError> {
        instance::create_home(&self.builder.workspace, &self.builder.env)?;
        Ok(os::create_private_dir(&self.dir).map_err(cannot("create", &self.dir))?)
    }

    pub(super) fn orphaned(&self, record: Option<&Record>, processes: &[Running]) -> StartError {
        let Status { instance, endpoints, pids, data_dir, .. } =
            self.describe(record.cloned(), processes, State::Orphaned);
        StartError::Orphaned { instance, pids, endpoints, has_data: data_dir.try_exists().unwrap_or(true) }
    }

    /// A server that runs already: somebody else's start, or one whose launcher was killed. It may still be
    /// on its way up, or down: `None` if it has ended.
    pub(super) fn await_running(&self, server: Server) -> Result<Option<Up>, StartError> {
        if server.is_orphan {
            return Err(self.orphaned(server.record.as_ref(), &server.processes));
        }
        let instance = self.name.clone();
        let pid = server.pid();
        let Some(record) = server.record else { return Err(StartError::RecordLost { instance, pid }) };
        let mut reason = String::new();
        let answer = until(Deadline::after(self.builder.start_timeout), || -> Result<_, StartError> {
            match probe(&record) {
                Probe::Ready { cluster_id, version } => return Ok(Some(Some((cluster_id, version)))),
                Probe::NotYet(why) => reason = why,
                Probe::Foreign(other) => reason = format!("cluster {other}, which is not ours, answers there"),
            }
            if self.cluster.is_empty() && log::is_bootstrap_incomplete(&record.log, 0) {
                // It never will be ready. The next one is started on data that is made anew.
                server.processes.iter().for_each(|running| drop(running.kill()));
            }
            Ok(server.processes.iter().all(Running::has_ended).then_some(None))
        })?;
        let (cluster_id, version) = match answer {
            Some(Some(ready)) => ready,
            Some(None) => return Ok(None),
            None => return Err(StartError::Unready { instance, pid, reason, log: record.log }),
        };
        let record = Record {
            cluster_id: Some(cluster_id),
            version: version.parse().unwrap_or_else(|_| record.version.clone()),
            pids: server.processes.iter().map(|running| running.identity.pid).collect(),
            process: server.processes.first().map(|running| running.identity.clone()),
            ..record
        };
        if let Some(mut data) = DataDir::find(&record.data_dir)? {
            self.note_use(&mut data, &record.version)?;
        }
        self.save(&record)?;
        let status = self.describe(Some(record.clone()), &server.processes, State::Ready);
        self.check_requested(&status, Some(&record))?;
        Ok(Some(Up { status, started: false }))
    }

    /// Starts a server. Tries again with another port if one was taken meanwhile and `Port::Auto` allows it, with new data if
    /// ours is incomplete and unused, and once without asking for an election if etcd crashed over the one we asked for.
    pub(super) fn start(
        &self,
        binary: &Binary,
        lock: Lock,
        previous: Option<&Record>,
        data_path: &Path,
        lifetime: Lifetime,
    ) -> Result<Foreground, StartError> {
        const ATTEMPTS: usize = 5;
        self.builder.report_exposure();
        let mut data = DataDir::find_or_create(data_path, &self.dir)?;
        if let Some(before) = previous.map(|record| &record.data_dir).filter(|dir| !file::is_same(dir, data_path))
            && DataDir::find(before).ok().flatten().is_some_and(|data| data.was_used())
        {
            let (from, to) = (before.clone(), data_path.to_owned());
            self.builder.reporter.report(&Event::Moved { instance: self.name.clone(), from, to });
        }
        let mut lock = Some(lock);
        let (mut attempt, mut is_second, mut asks_for_election) = (1, false, true);
        loop {
            let held = match lock.take() {
                Some(held) => held,
                None => Lock::acquire(&self.member_lock(), self.operation_timeout(), || ())?,
            };
            let ports = self.choose_ports(previous.filter(|_| attempt == 1))?;
            data.claim(&[ports.peer_url()], &binary.version)?;
            match self.launch(binary, held, &mut data, ports, lifetime, asks_for_election) {
                Err(StartError::Launch(LaunchError::PortTaken { kind, .. }))
                    if (kind == PortKind::Metrics || self.may_move()) && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(StartError::Launch(LaunchError::IncompleteBootstrap { .. }))
                    if data.is_owned_by(&self.dir) && !is_second =>
                {
                    data.put_away(&self.dir)?;
                    self.finish_wiping(data_path);
                    data = DataDir::find_or_create(data_path, &self.dir)?;
                    is_second = true;
                }
                Err(StartError::Launch(LaunchError::EarlyElection { .. })) if asks_for_election => {
                    asks_for_election = false;
                }
                result => return result,
            }
        }
    }

    /// Deletes what an interrupted reset left. If it resists, the next reset says so; this is no reason to fail.
    pub(super) fn finish_wiping(&self, data_dir: &Path) {
        Trash::left_beside(data_dir, &self.dir).into_iter().for_each(|trash| drop(trash.delete()));
    }

    fn launch(
        &self,
        binary: &Binary,
        lock: Lock,
        data: &mut DataDir,
        ports: Ports,
        lifetime: Lifetime,
        asks_for_election: bool,
    ) -> Result<Foreground, StartError> {
        let mut starting = self.spawn(binary, lock, data, ports, lifetime, asks_for_election)?;
        let ready = starting.launched.wait_ready(self.builder.start_timeout);
        let ready = ready.inspect_err(|_| starting.note_failed_use(self, data))?;
        let status = starting.finish(self, data, ready)?;
        Ok(Foreground { status, launched: starting.launched })
    }

    /// Writes down which etcd has used the data, and reports an upgrade, which cannot be undone.
    pub(super) fn note_use(&self, data: &mut DataDir, version: &Version) -> Result<(), DataError> {
        if let Some(from) = data.used_by(version)? {
            let (instance, to) = (self.name.clone(), version.clone());
            self.builder.reporter.report(&Event::Upgraded { instance, from, to });
        }
        Ok(())
    }

    pub(super) fn save(&self, record: &Record) -> Result<(), StartError> {
        let path = self.record_path();
        Ok(record::save(&path, record).map_err(cannot("write", &path))?)
    }

    /// A server that runs must speak TLS if that is asked for.
    pub(super) fn check_tls(&self, status: &Status) -> Result<(), StartError> {
        let asked = self.builder.tls_scope();
        let what = match () {
            () if asked.clients && status.tls.is_none() => "clients in",
            () if asked.peers && status.peer_tls.is_none() => "peers in",
            () => return Ok(()),
        };
        let (running, asked) = ("plain text".to_owned(), "TLS".to_owned());
        Err(StartError::Conflict { instance: self.name.clone(), what, running, asked })
    }

    /// A server that runs already must be the one that was plainly asked for.
    pub(super) fn check_requested(&self, status: &Status, record: Option<&Record>) -> Result<(), StartError> {
        let asked = &self.builder.requested;
        let conflict = |what, running: String, asked: String| {
            Err(StartError::Conflict { instance: self.name.clone(), what, running, asked })
        };
        let port = status.endpoints.first().and_then(|url| url.rsplit_once(':')?.1.parse::<u16>().ok());
        match (asked.port, port) {
            (Some(asked), Some(port)) if asked != port => {
                return conflict("client port", port.to_string(), asked.to_string());
            }
            _ => {}
        }
        let peer = record.and_then(|record| record.peer_url.rsplit_once(':')?.1.parse().ok());
        match (asked.peer_port, peer) {
            (Some(asked), Some(port)) if asked != port => {
                return conflict("peer port", u16::to_string(&port), asked.to_string());
            }
            _ => {}
        }
        self.check_tls(status)?;
        if let Some(dir) = asked.data_dir.as_ref().filter(|dir| **dir != status.data_dir) {
            let running = status.data_dir.display().to_string();
            return conflict("data directory", running, dir.display().to_string());
        }
        let running = status.version.as_ref().map(ToString::to_string).unwrap_or_default();
        match (&asked.version, &status.version) {
            (Some(Wanted::Exactly(wanted)), Some(version)) if wanted != version => {
                conflict("etcd", running, wanted.to_string())
            }
            (Some(Wanted::Matching(wanted)), Some(version)) if !wanted.matches(version) => {
                conflict("etcd", running, wanted.to_string())
            }
            (Some(wanted @ Wanted::At(_)), _) => {
                // Looked for first: what is no etcd at all is worse than another one.
                let asked = self.builder.binaries().find(wanted)?.path;
                match &status.binary {
                    Some(running) if !file::is_same(running, &asked) => {
                        conflict("program", running.display().to_string(), asked.display().to_string())
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn join(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
