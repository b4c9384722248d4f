//! What a run is to be, before there is one.

use std::path::PathBuf;
use std::time::Duration;

use crate::runs::record::{Record, TTL};

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) lock_dir: PathBuf,
    command: String,
    runner: u32,
    ttl: Duration,
    elsewhere: bool,
}

impl Plan {
    /// A run of this process, whose lock is in `lock_dir`: a directory that all of the run's processes see.
    #[must_use]
    pub fn new(lock_dir: impl Into<PathBuf>, command: impl Into<String>) -> Self {
        Self {
            lock_dir: lock_dir.into(),
            command: command.into(),
            runner: std::process::id(),
            ttl: TTL,
            elsewhere: false,
        }
    }

    /// The process that runs the tests, where it is not this one: people look for it.
    #[must_use]
    pub fn runner(mut self, pid: u32) -> Self {
        self.runner = pid;
        self
    }

    /// How long the run counts as alive without a heartbeat, in whole seconds; 5 s unless said otherwise. Another
    /// host waits ten times as long before it sweeps.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Registers it as a run of another host, for tests of those who judge such runs.
    #[doc(hidden)]
    #[must_use]
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// What others read of it, with where its lock is.
    pub(crate) fn into_record(self, lock: PathBuf) -> Record {
        let mut record = Record::new(self.runner, lock, self.command, self.ttl);
        if self.elsewhere {
            record.host.push_str(".elsewhere");
        }
        record
    }
}
