//! What is true of an instance now: the lock says whether a server lives, the system says which process
//! holds it, the record adds what they cannot tell. Changes nothing but the record.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use etcd_workspace::{Identity, InstanceError, Record, SCHEMA, SCHEMA_2};
use semver::Version;

use super::arguments::Args;
use super::record;
use super::{Instance, State, Status};
use crate::data::DataDir;
use crate::file::{PathError, cannot, is_same};
use crate::lock::{self, Lock};
use crate::process::Running;
use crate::reporter::Event;
use crate::server::ports::address_of;
use crate::server::readiness::{Probe, Target};
use crate::settings::Port;
use crate::wait::{Deadline, until};
use crate::{binary, os};

/// Who has an instance's lock; `L` is what whoever asked gets of a free one.
enum Held<L> {
    /// Nobody, and no server of the instance lives.
    Free(L),
    /// Its server.
    Server(Vec<Running>),
    /// Nobody, as its server's was deleted.
    Orphan(Vec<Running>),
    /// A process that is not to be seen from here: in another container, say, or another user's.
    Hidden,
}

/// What [`Instance::observe`] found.
pub(super) enum Presence {
    /// No server. The lock keeps it so until it is dropped or inherited by a new one.
    Absent { lock: Lock, record: Option<Record> },
    /// A server lives.
    Present(Server),
}

impl Presence {
    /// The record of whatever was found.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Absent { record, .. } | Self::Present(Server { record, .. }) => record.as_ref(),
        }
    }
}

/// What a look found that took no lock.
pub(super) struct Seen {
    /// As the file says it.
    on_disk: Option<Record>,
    /// As the running server says it; of a stopped one, as the file does.
    pub(super) record: Option<Record>,
    held: Held<()>,
}

impl Seen {
    /// The server's processes, as far as they can be seen.
    pub(super) fn processes(&self) -> &[Running] {
        match &self.held {
            Held::Server(processes) | Held::Orphan(processes) => processes,
            Held::Free(()) | Held::Hidden => &[],
        }
    }

    /// Whether there is no server.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.held, Held::Free(()))
    }

    /// Whether the file leads everybody to the live server, also those who read nothing else.
    pub(super) fn is_recorded(&self) -> bool {
        let Some(record) = self.on_disk.as_ref().filter(|record| self.record.as_ref() == Some(record)) else {
            return false;
        };
        let lives = |identity: &Identity| self.processes().iter().any(|running| running.identity == *identity);
        let pids: Vec<u32> = self.processes().iter().map(|running| running.identity.pid).collect();
        record.cluster_id.is_some()
            && record.process.as_ref().is_some_and(|process| lives(process) && record.pids.contains(&process.pid))
            && record.pids.iter().all(|pid| pids.contains(pid))
    }
}

/// A live server.
pub(super) struct Server {
    /// Absent: the record was lost, and the system does not show a process's arguments.
    pub(super) record: Option<Record>,
    pub(super) processes: Vec<Running>,
    /// Whether its lock file was deleted.
    pub(super) is_orphan: bool,
}

impl Server {
    /// The first of its processes; there is at least one.
    pub(super) fn pid(&self) -> u32 {
        self.processes.first().map_or(0, |running| running.identity.pid)
    }
}

/// Why nothing can be said of an instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The server cannot be seen, and what was asked for takes that.
    #[error("etcd `{instance}` {}: a process that this one cannot see holds `{}`", State::Hidden, lock.display())]
    Hidden {
        /// The instance.
        instance: String,
        /// The lock.
        lock: PathBuf,
        /// The processes that the record names, if they are another user's here.
        pids: Vec<u32>,
    },
    /// The record is of a newer version.
    #[error(transparent)]
    Record(InstanceError),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl From<InstanceError> for ObserveError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Unreadable { path, source } => cannot("read", &path)(source).into(),
            error => Self::Record(error),
        }
    }
}

impl Instance {
    /// Describes an instance of one member. Takes no lock for longer than a look, starts nothing, repairs nothing.
    pub(super) fn status_of_member(&self) -> Result<Status, ObserveError> {
        Ok(self.status_of(&self.look()?))
    }

    pub(super) fn look(&self) -> Result<Seen, ObserveError> {
        let on_disk = record::peek(&self.record_path())?;
        let held = self.held_by(on_disk.as_ref())?;
        let record = match &held {
            Held::Free(()) | Held::Hidden => on_disk.clone().map(|record| self.at_rest(record)),
            Held::Server(processes) | Held::Orphan(processes) => self.record_of(processes, on_disk.clone()),
        };
        Ok(Seen { on_disk, record, held })
    }

    /// Who has the lock, found out without taking it.
    fn held_by(&self, record: Option<&Record>) -> Result<Held<()>, ObserveError> {
        // Others who look do not keep us from looking, only whoever changes something.
        const TIMEOUT: Duration = Duration::from_millis(300);
        let (lock, operation) = (self.member_lock(), self.operation_lock());
        let look = |timeout| self.held(record, timeout, || Ok((!lock::is_held(&lock)?).then_some(())));
        // A command that is about to start the server, or has just stopped it, has the lock itself: this process, say.
        let is_busy = || lock::is_held(&operation).map_err(cannot("look at", &operation));
        for timeout in [Duration::ZERO, TIMEOUT] {
            if let Some(held) = look(timeout)? {
                return Ok(held);
            }
            if is_busy()? {
                return Ok(Held::Free(()));
            }
        }
        // One may have ended only now, and another may have begun.
        match look(Duration::ZERO)? {
            Some(held) => Ok(held),
            None if is_busy()? => Ok(Held::Free(())),
            None => Ok(Held::Hidden),
        }
    }

    pub(super) fn status_of(&self, seen: &Seen) -> Status {
        let answers = || seen.record.as_ref().is_some_and(|record| matches!(probe(record), Probe::Ready { .. }));
        let (state, answers) = match &seen.held {
            Held::Free(()) => (State::Stopped, false),
            Held::Hidden => (State::Hidden, seen.record.as_ref().is_some_and(answers_as_recorded)),
            Held::Orphan(_) => (State::Orphaned, answers()),
            Held::Server(_) if answers() => (State::Ready, true),
            Held::Server(_) => (State::Starting, false),
        };
        let status = self.describe(seen.record.clone(), seen.processes(), state);
        let hidden = || seen.record.as_ref().and_then(pid_of_another_user).into_iter().collect();
        let pids = if state == State::Hidden { hidden() } else { status.pids };
        Status { answers, pids, ..status }
    }

    pub(super) fn describe(&self, record: Option<Record>, processes: &[Running], state: State) -> Status {
        let pids = processes.iter().map(|running| running.identity.pid).collect();
        let instance = self.name.clone();
        let answers = state == State::Ready;
        match record {
            Some(record) => Status {
                instance,
                state,
                answers,
                endpoints: record.endpoints,
                pids,
                version: Some(record.version),
                binary: Some(record.binary),
                data_dir: record.data_dir,
                log: record.log,
                tls: record.tls,
                peer_tls: record.peer_tls,
                password_file: record.password_file,
                metrics_url: record.metrics_url,
                cluster_id: record.cluster_id,
                ready_ms: record.ready_ms,
                members: Vec::new(),
            },
            None => Status {
                instance,
                state,
                answers,
                endpoints: Vec::new(),
                pids,
                version: None,
                binary: None,
                data_dir: self.data_dir(),
                log: self.log(),
                tls: None,
                peer_tls: None,
                password_file: None,
                metrics_url: None,
                cluster_id: None,
                ready_ms: None,
                members: Vec::new(),
            },
        }
    }

    /// Finds out whether a server lives. The caller holds the operation lock, so that it stays so.
    pub(super) fn observe(&self) -> Result<Presence, ObserveError> {
        // Somebody who only looks has the lock for a moment, too.
        const TIMEOUT: Duration = Duration::from_secs(2);
        let mut on_disk = record::load(&self.record_path(), &*self.builder.reporter)?;
        let lock_path = self.member_lock();
        self.forget_dead_server(on_disk.as_mut());
        let (processes, is_orphan) = match self.held(on_disk.as_ref(), TIMEOUT, || Lock::try_acquire(&lock_path))? {
            Some(Held::Free(lock)) => {
                let record = on_disk.map(|record| self.at_rest(record));
                return Ok(Presence::Absent { lock, record });
            }
            Some(Held::Server(processes)) => (processes, false),
            Some(Held::Orphan(processes)) => (processes, true),
            Some(Held::Hidden) | None => return Err(self.hidden(on_disk.as_ref())),
        };
        let record = self.record_of(&processes, on_disk.clone());
        if record != on_disk && !is_orphan {
            processes.iter().take(1).for_each(|running| {
                self.builder.reporter.report(&Event::Adopted { pid: running.identity.pid });
            });
        }
        Ok(Presence::Present(Server { record, processes, is_orphan }))
    }

    /// Who has the lock; `take` gets what the caller wants of a free one. `None`: a process that cannot be seen has kept
    /// it all the time.
    fn held<L>(
        &self,
        record: Option<&Record>,
        timeout: Duration,
        take: impl Fn() -> io::Result<Option<L>>,
    ) -> Result<Option<Held<L>>, ObserveError> {
        until(Deadline::after(timeout), || -> Result<_, ObserveError> {
            if let Some(free) = take().map_err(cannot("look at", &self.member_lock()))? {
                let orphans = self.orphans();
                return Ok(Some(if orphans.is_empty() { Held::Free(free) } else { Held::Orphan(orphans) }));
            }
            let processes = self.processes(record)?;
            if !processes.is_empty() {
                return Ok(Some(Held::Server(processes)));
            }
            if !record.is_some_and(answers_as_recorded) {
                return Ok(None);
            }
            // It may have come up after the look at the processes.
            let processes = self.processes(record)?;
            Ok(Some(if processes.is_empty() { Held::Hidden } else { Held::Server(processes) }))
        })
    }

    /// The servers of this instance whose lock file was deleted.
    fn orphans(&self) -> Vec<Running> {
        let found = etcd_workspace::orphans(&self.dir);
        let mut held: Vec<_> = found.iter().filter_map(|pid| Running::with_pid(*pid).ok().flatten()).collect();
        if !held.is_empty() {
            // Looked at again while the processes are held: only now their pids cannot mean others.
            let again = etcd_workspace::orphans(&self.dir);
            let is_ours = |pid: u32| again.contains(&pid) && Args::of(pid).is_some();
            held.retain(|running| is_ours(running.identity.pid) && !running.has_ended());
        }
        held
    }

    pub(super) fn hidden(&self, record: Option<&Record>) -> ObserveError {
        let pids = record.and_then(pid_of_another_user).into_iter().collect();
        ObserveError::Hidden { instance: self.name.clone(), lock: self.member_lock(), pids }
    }

    /// Takes a dead server out of the record before we hold the lock: whoever finds the lock held believes the record.
    fn forget_dead_server(&self, record: Option<&mut Record>) {
        let Some(record) = record.filter(|record| !record.pids.is_empty()) else { return };
        if let Ok(false) = lock::is_held(&self.member_lock()) {
            (record.pids, record.process) = (Vec::new(), None);
            // Where nothing can be written, whoever has to write it says so.
            drop(record::save(&self.record_path(), record));
        }
    }

    /// The live processes of this instance. Where the system shows who has our lock, that is the proof;
    /// elsewhere it is the recorded identity, or our member listening on our port while the lock is held.
    fn processes(&self, record: Option<&Record>) -> Result<Vec<Running>, ObserveError> {
        let lock_path = self.member_lock();
        if let Some(pids) = os::holders(&lock_path) {
            let running = pids.into_iter().filter_map(|pid| Running::with_pid(pid).transpose());
            return Ok(running.collect::<io::Result<_>>().map_err(cannot("look at", &lock_path))?);
        }
        if let Some(identity) = record.and_then(|record| record.process.as_ref()) {
            let recorded = Running::recorded(identity).map_err(cannot("look at", &lock_path))?;
            if let Some(running) = recorded {
                return Ok(vec![running]);
            }
        }
        Ok(self.listener(record).into_iter().collect())
    }

    /// Who listens on our peer port, if the cluster id proves that it is our member: somebody who only looks has the lock
    /// for a moment, too, and another workspace may have the port by now.
    fn listener(&self, record: Option<&Record>) -> Option<Running> {
        // Without a record, TLS is not known of.
        let configured = || match self.builder.settings.peer() {
            Port::Fixed(port) => {
                let url = format!("http://{}", SocketAddr::new(self.builder.settings.host, port));
                Some(Target { plain_url: url.clone(), peer_url: url, data_dir: self.data_dir() })
            }
            Port::Auto => None,
        };
        let target = record.map_or_else(configured, Target::recorded)?;
        let ours = match record {
            Some(record) => record.cluster_id?,
            None => {
                let data = DataDir::find(&self.data_dir()).ok().flatten()?;
                data.marker.filter(|marker| marker.is_owned_by(&self.dir))?.cluster_id?
            }
        };
        if target.cluster_id().ok()? != ours {
            return None;
        }
        Running::with_pid(os::listener(address_of(target.listens_at())?)?).ok()?
    }

    /// The record, if it is of this server. One that is lost, or that says something else than the server's own
    /// arguments, is written anew from them.
    fn record_of(&self, processes: &[Running], record: Option<Record>) -> Option<Record> {
        let args = processes.iter().find_map(|running| Some((&running.identity, Args::of(running.identity.pid)?)));
        match (args, record) {
            (Some((_, args)), Some(record)) if args.are_of(&record) && record.log == self.log() => Some(record),
            (Some((identity, args)), _) => self.recover(identity, args),
            // Where the system shows no arguments, the record is all that there is.
            (None, record) => record,
        }
    }

    /// The record of a stopped server. One that has its log elsewhere came with a workspace that was moved or copied: what
    /// it says of places is not true of this one.
    fn at_rest(&self, record: Record) -> Record {
        match record.log.parent().is_some_and(|dir| is_same(dir, &self.dir)) {
            true => record,
            false => Record { data_dir: self.data_dir(), log: self.log(), ..record },
        }
    }

    fn recover(&self, identity: &Identity, args: Args) -> Option<Record> {
        let Args { member, data_dir, endpoint, peer_url, metrics_url, tls, peer_tls } = args;
        // The workspace may have been moved under its server.
        let own = self.own_data_dir();
        let was_own = own.strip_prefix(&self.builder.workspace).is_ok_and(|place| data_dir.ends_with(place));
        let data_dir = if was_own && !data_dir.exists() { own } else { data_dir };
        let marker = DataDir::find(&data_dir).ok().flatten().and_then(|data| data.marker);
        let has_users = marker.as_ref().is_some_and(|marker| marker.has_users);
        let mut record = Record {
            schema: if metrics_url.is_some() || has_users { SCHEMA_2 } else { SCHEMA },
            instance: self.name.clone(),
            version: Version::new(0, 0, 0),
            endpoints: vec![endpoint],
            peer_url,
            member,
            binary: identity.exe.clone(),
            data_dir,
            log: self.log(),
            cluster_id: marker.and_then(|marker| marker.cluster_id),
            pids: vec![identity.pid],
            process: Some(identity.clone()),
            ready_ms: None,
            password_file: has_users.then(|| self.password_file()),
            tls,
            peer_tls,
            metrics_url,
            members: Vec::new(),
        };
        let answered = Target::recorded(&record).and_then(|target| target.server_version().ok());
        let version = answered.and_then(|version| Version::parse(&version).ok());
        record.version = version.or_else(|| binary::version_of(&identity.exe, &self.builder.env).ok())?;
        Some(record)
    }
}

pub(super) fn probe(record: &Record) -> Probe {
    match Target::recorded(record) {
        Some(target) => target.probe(record.cluster_id),
        None => Probe::NotYet("its record names no endpoint".to_owned()),
    }
}

/// Whether our server answers where the record says: its cluster id comes from random bits, so that nobody else has it.
fn answers_as_recorded(record: &Record) -> bool {
    record.cluster_id.is_some() && matches!(probe(record), Probe::Ready { .. })
}

/// The recorded process, if it lives and its lock is hidden from us for being another user's. Who has its pid in another
/// container began at another time.
fn pid_of_another_user(record: &Record) -> Option<u32> {
    let recorded = record.process.as_ref()?;
    let found = Running::with_pid(recorded.pid).ok()??.identity;
    let is_theirs = found.exe.as_os_str().is_empty();
    (is_theirs && (found.started, &found.boot) == (recorded.started, &recorded.boot)).then_some(recorded.pid)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::{Builder, Env, Settings};

    /// A peer port of a cluster with this id, by this process.
    fn peer(cluster_id: &'static str) -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in socket.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: {cluster_id}\r\nContent-Length: 2\r\n\r\n[]");
                let _ = stream.write_all(head.as_bytes());
            }
        });
        addr
    }

    #[test]
    fn a_listener_counts_only_if_its_cluster_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let addr = peer("000000000000002a");
        let settings = Settings { peer_port: Some(Port::Fixed(addr.port())), ..Settings::default() };
        let instance =
            Builder::with_settings(Env::empty(dir.path()), dir.path(), settings).instance("default").unwrap();
        let pid = |record: Option<&Record>| instance.listener(record).map(|running| running.identity.pid);
        let record = |cluster_id: Option<u64>| Record {
            schema: SCHEMA,
            instance: "default".to_owned(),
            endpoints: vec![format!("http://{addr}")],
            peer_url: format!("http://{addr}"),
            member: "m".to_owned(),
            version: Version::new(3, 7, 2),
            binary: std::env::current_exe().unwrap(),
            data_dir: instance.data_dir(),
            log: instance.log(),
            cluster_id: cluster_id.map(crate::ClusterId),
            pids: Vec::new(),
            process: None,
            ready_ms: None,
            password_file: None,
            tls: None,
            peer_tls: None,
            metrics_url: None,
            members: Vec::new(),
        };
        assert_eq!(pid(Some(&record(Some(42)))), Some(std::process::id()));
        assert_eq!(pid(Some(&record(Some(43)))), None);
        assert_eq!(pid(Some(&record(None))), None);
        // Without a record the data says whose it is.
        assert_eq!(pid(None), None);
        let mut data = DataDir::find_or_create(&instance.data_dir(), &instance.dir).unwrap();
        data.claim(&[format!("http://{addr}")], &Version::new(3, 7, 2)).unwrap();
        assert_eq!(pid(None), None);
        data.marker.as_mut().unwrap().cluster_id = Some(crate::ClusterId(42));
        data.save().unwrap();
        assert_eq!(pid(None), Some(std::process::id()));
    }
}
