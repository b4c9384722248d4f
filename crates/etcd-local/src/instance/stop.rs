//! `down` and `reset`: ending the server, and wiping exactly the data that is ours.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::Record;

use super::Instance;
use super::member_error::MemberError;
use super::observe::{ObserveError, Presence, Server};
use super::start::{StartError, Up};
use crate::binary::Binary;
use crate::data::{DataDir, DataError, Trash};
use crate::file::{self, cannot};
use crate::lock::{Lock, LockError};
use crate::os::Lifetime;
use crate::reporter::Event;
use crate::settings::Port;

/// How long etcd may take to end by itself. It takes 4 ms when idle; with a watch open it would wait for its client, five
/// seconds and more. What it acknowledged is on disk, whichever way it ends.
const GRACE: Duration = Duration::from_secs(1);

/// What [`Instance::down`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// The processes that it ended; empty if none ran.
    pub stopped: Vec<u32>,
    /// Where the data stays.
    pub data_dir: PathBuf,
}

/// Why a server could not be stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// Another command is busy with the instance.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What is there cannot be found out.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Something cannot be done with a member.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The record cannot be written.
    #[error(transparent)]
    Record(Box<StartError>),
    /// The process does not end.
    #[error("cannot stop pid {pid} of instance `{instance}`")]
    Process {
        /// The instance.
        instance: String,
        /// The process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<StopError> for StartError {
    fn from(error: StopError) -> Self {
        match error {
            StopError::Lock(error) => error.into(),
            StopError::Observe(error) => error.into(),
            StopError::Member(error) => error.into(),
            StopError::Record(error) => *error,
            StopError::Process { instance, pid, source } => MemberError::Stop { instance, pid, source }.into(),
        }
    }
}

/// What [`Instance::reset`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The data directory that was wiped; `None`: there was nothing.
    pub wiped: Option<PathBuf>,
    /// The new server, if one was running before.
    pub up: Option<Up>,
}

/// Why data was not wiped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The server could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The data is not ours, or is in use.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No etcd was found to start again, and nothing was touched; or the data is gone, and the new server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Instance {
    /// Stops the server of an instance of one member, if there is one. The data stays.
    pub(super) fn down_member(&self) -> Result<Down, StopError> {
        if !file::is_dir(&self.dir).map_err(cannot("look at", &self.dir)).map_err(ObserveError::from)? {
            let seen = self.look()?;
            if seen.is_stopped() {
                return Ok(Down { stopped: Vec::new(), data_dir: self.data_dir() });
            }
            self.create_dir().map_err(|error| StopError::Record(Box::new(error)))?;
        }
        let _operation = self.begin_operation()?;
        let (stopped, _lock, record) = self.stop(self.observe()?)?;
        let data_dir = self.data_dir_of(record.as_ref());
        // The lock says that it is stopped; the record only repeats that.
        if let Err(error) = self.record_stopped(record) {
            let causes = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
            let reason = causes.last().map(ToString::to_string).unwrap_or_default();
            self.builder.reporter.report(&Event::Unrecorded { record: self.record_path(), reason });
        }
        self.finish_wiping(&data_dir);
        Ok(Down { stopped, data_dir })
    }

    /// The data that the server has, or had last. A running server has some even if its directory was deleted.
    pub(super) fn wipes_of_member(&self) -> Result<Option<PathBuf>, ResetError> {
        let seen = self.look().map_err(StopError::from)?;
        let path = self.data_dir_of(seen.record.as_ref());
        Ok(self.own_data(&path)?.map(|data| data.path).or_else(|| (!seen.is_stopped()).then_some(path)))
    }

    pub(super) fn data_dir_of(&self, record: Option<&Record>) -> PathBuf {
        record.map_or_else(|| self.data_dir(), |record| record.data_dir.clone())
    }

    /// What is in the directory, if it may be wiped.
    pub(super) fn own_data(&self, path: &Path) -> Result<Option<DataDir>, DataError> {
        match DataDir::find(path)? {
            Some(data) if !data.is_owned_by(&self.dir) => Err(DataError::NotOurs(data.path)),
            found => Ok(found),
        }
    }

    /// The reset of an instance of one member.
    pub(super) fn reset_member(&self) -> Result<Reset, ResetError> {
        let seen = self.look().map_err(StopError::from)?;
        let data = self.own_data(&self.data_dir_of(seen.record.as_ref()))?;
        if !file::is_dir(&self.dir).map_err(cannot("look at", &self.dir)).map_err(StartError::from)? {
            // Data kept elsewhere is still ours when somebody has deleted this, and so is a server.
            if data.is_none() && seen.is_stopped() {
                return Ok(Reset { wiped: None, up: None });
            }
            self.create_dir()?;
        }
        // Refused, or not found again, before anything is stopped; installed, before anybody has to wait.
        let binary = match seen.processes() {
            [] => None,
            _ => Some(self.binary_again(seen.record.as_ref())?),
        };
        let _operation = self.begin_operation().map_err(StopError::from)?;
        let presence = self.observe().map_err(StopError::from)?;
        let path = self.data_dir_of(presence.record());
        self.own_data(&path)?;
        let binary = match (&presence, binary) {
            (Presence::Absent { .. }, _) => None,
            (Presence::Present(_), Some(binary)) => Some(binary),
            (Presence::Present(server), None) => Some(self.binary_again(server.record.as_ref())?),
        };
        let (_, lock, record) = self.stop(presence)?;
        let record = self.record_stopped(record)?;
        let wiped = match self.own_data(&path)? {
            Some(data) => Some(data.put_away(&self.dir)?),
            None => None,
        };
        let up = match binary {
            Some(binary) => Some(self.start_again(&binary, lock, record.as_ref(), &path)?),
            None => None,
        };
        // The slow part comes last: the new server serves already.
        Trash::left_beside(&path, &self.dir).into_iter().try_for_each(Trash::delete)?;
        Ok(Reset { wiped, up })
    }

    /// This instance with the ports that it ran with.
    fn as_recorded(&self, record: &Record) -> Self {
        let port = |url: &str| url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).map(Port::Fixed);
        let mut again = self.clone();
        let settings = &mut again.builder.settings;
        settings.port = record.endpoints.first().and_then(|url| port(url)).or(settings.port);
        settings.peer_port = port(&record.peer_url).or(settings.peer_port);
        settings.member = Some(record.member.clone());
        again.with_tls_of(Some(record))
    }

    /// The program that the record names, as long as it is the same, else one as `up` finds it.
    pub(super) fn binary_again(&self, record: Option<&Record>) -> Result<Binary, StartError> {
        let (binaries, wanted) = (self.builder.binaries(), &self.builder.settings.wanted);
        let same = record.and_then(|record| binaries.unchanged(&record.binary, &record.version));
        Ok(same.map_or_else(|| binaries.find(wanted), Ok)?)
    }

    fn start_again(
        &self,
        binary: &Binary,
        lock: Lock,
        record: Option<&Record>,
        data_path: &Path,
    ) -> Result<Up, StartError> {
        let again = record.map_or_else(|| self.clone(), |record| self.as_recorded(record));
        let started = again.start(binary, lock, record, data_path, Lifetime::Detached)?;
        Ok(Up { status: started.status, started: true })
    }

    /// Ends every process of the instance. The lock that is returned keeps another from starting.
    pub(super) fn stop(&self, found: Presence) -> Result<(Vec<u32>, Lock, Option<Record>), StopError> {
        let Server { record, processes, .. } = match found {
            Presence::Absent { lock, record } => return Ok((Vec::new(), lock, record)),
            Presence::Present(server) => server,
        };
        for running in &processes {
            let pid = running.identity.pid;
            let failed = |source| StopError::Process { instance: self.name.clone(), pid, source };
            // A member that is asked to end hands its leadership over first, for a second and more.
            let ended = if self.cluster.is_empty() { running.stop(GRACE) } else { running.kill() };
            ended.map_err(failed)?;
        }
        // Only the lock proves that nobody is left, not even a child that a wrapper script started.
        let lock = Lock::acquire(&self.member_lock(), self.operation_timeout(), || ())?;
        Ok((processes.iter().map(|running| running.identity.pid).collect(), lock, record))
    }

    pub(super) fn record_stopped(&self, record: Option<Record>) -> Result<Option<Record>, StopError> {
        let Some(record) = record else { return Ok(None) };
        if record.pids.is_empty() && record.process.is_none() {
            return Ok(Some(record));
        }
        let record = Record { pids: Vec::new(), process: None, ..record };
        self.save(&record).map_err(|error| StopError::Record(Box::new(error)))?;
        Ok(Some(record))
    }
}
