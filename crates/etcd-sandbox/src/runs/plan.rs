//! The options of a run, before it starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::runs::record::{Record, TTL};

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) lock_dir: PathBuf,
    command: String,
    runner: u32,
    ttl: Duration,
    elsewhere: bool,
    pub(crate) fenced: bool,
}

impl Plan {
    /// A run of this process. The lock is in `lock_dir`, a directory that all processes of the run see.
    #[must_use]
    pub fn new(lock_dir: impl Into<PathBuf>, command: impl Into<String>) -> Self {
        Self {
            lock_dir: lock_dir.into(),
            command: command.into(),
            runner: std::process::id(),
            ttl: TTL,
            elsewhere: false,
            fenced: false,
        }
    }

    /// The process that runs the tests, if that is another process. It is recorded for people.
    #[must_use]
    pub fn runner(mut self, pid: u32) -> Self {
        self.runner = pid;
        self
    }

    /// How long the run counts as alive without a heartbeat, in whole seconds; default: 5 s. Another host waits ten
    /// times as long before it sweeps.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Gives the run a user of its own, who can use the run's keys and nothing else: see [`Run::credentials`]. The connection's
    /// user needs the role `root`.
    ///
    /// [`Run::credentials`]: crate::runs::Run::credentials
    #[must_use]
    pub fn fenced(mut self, fenced: bool) -> Self {
        self.fenced = fenced;
        self
    }

    /// Registers the run as one of another host, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// The record, with the path of the lock.
    pub(crate) fn into_record(self, lock: PathBuf) -> Record {
        let mut record = Record::new(self.runner, lock, self.command, self.ttl);
        if self.elsewhere {
            record.host.push_str(".elsewhere");
        }
        record
    }
}
