//! A run's record, `.run`: other processes decide by it whether the run is alive. When it is read, anybody may have
//! written it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{self, Host};

/// The version of the record's form.
pub(crate) const SCHEMA: u32 = 1;

/// How long a run counts as alive without a heartbeat. For a run of another host ten times as long is waited.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// The longest time to live that is believed: anybody may have written the record, and it is waited for.
const LONGEST_TTL: u64 = 60;

/// What `.run` holds, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 1; a reader that knows only smaller numbers leaves the run alone.
    pub schema: u32,
    /// How far the run is.
    pub state: State,
    /// The runner's host.
    pub host: String,
    /// The host's boot id; empty where the system has none.
    #[serde(default)]
    pub boot: String,
    /// The runner's pid. It proves nothing; the lock does.
    pub pid: u32,
    /// When that process started, in ticks since the boot; 0 if the system does not tell.
    #[serde(default)]
    pub pid_start: u64,
    /// The lock that all processes of the run hold, on that host.
    pub lock: PathBuf,
    /// The command line.
    pub command: String,
    /// When the run started, RFC 3339, by that host's clock: for people.
    pub began: String,
    /// The time to live of `.alive`, in seconds.
    pub ttl: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its tests run, or its processes were killed.
    Running,
    /// The run has ended, and its keys stay until they are cleaned.
    Kept,
    /// Its keys are being deleted.
    Sweeping,
}

impl Record {
    /// The record of a run that this process starts now, for a runner that may be another process.
    pub(crate) fn new(runner: u32, lock: PathBuf, command: String, ttl: Duration) -> Self {
        let host = Host::this();
        Self {
            schema: SCHEMA,
            state: State::Running,
            host: host.name.clone(),
            boot: host.boot.clone(),
            pid: runner,
            pid_start: host::start_of(runner),
            lock,
            command,
            began: humantime::format_rfc3339_seconds(crate::host::now()).to_string(),
            ttl: ttl.as_secs().max(1),
        }
    }

    /// The record in another state.
    pub(crate) fn with(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    /// Whether the run is of this machine, since the last boot.
    pub(crate) fn is_of(&self, host: &Host) -> bool {
        (self.host.as_str(), self.boot.as_str()) == (host.name.as_str(), host.boot.as_str())
    }

    /// Fails if the lock's path is not UTF-8.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record that can be read.
    Record(Box<Record>),
    /// A newer version wrote the record, with this schema: the run is left alone.
    Newer(u32),
    /// Something else, and why it is not a record.
    Damaged(String),
}

impl Found {
    pub(crate) fn read(value: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        match serde_json::from_slice(value) {
            Ok(Schema { schema }) if schema > SCHEMA => return Self::Newer(schema),
            Ok(_) => {}
            Err(error) => return Self::Damaged(error.to_string()),
        }
        match serde_json::from_slice(value) {
            Ok(record) => Self::Record(Box::new(record)),
            Err(error) => Self::Damaged(error.to_string()),
        }
    }

    /// The record, if it can be read.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Newer(_) | Self::Damaged(_) => None,
        }
    }

    /// The time to live of `.alive`, or the default.
    pub(crate) fn ttl(&self) -> Duration {
        let ttl = self.record().map(|record| record.ttl.clamp(1, LONGEST_TTL));
        ttl.map_or(TTL, Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record::new(std::process::id(), "/x".into(), "cargo test".to_owned(), TTL)
    }

    #[test]
    fn a_record_reads_back() {
        let record = record();
        assert_eq!(Found::read(&record.to_bytes().unwrap()), Found::Record(Box::new(record.clone())));
        assert!(record.is_of(Host::this()));
        assert!(!Record { boot: "other".to_owned(), ..record }.is_of(Host::this()));
    }

    #[test]
    fn newer_and_damaged_records_are_not_read() {
        assert_eq!(Found::read(br#"{"schema":2,"anything":[]}"#), Found::Newer(2));
        for bytes in [&b""[..], b"{", b"null", b"{\"schema\":1}", b"\xff\xfe", b"{\"schema\":-1}"] {
            assert!(matches!(Found::read(bytes), Found::Damaged(_)));
        }
    }

    #[test]
    fn a_time_to_live_is_bounded() {
        let forged = Record { ttl: u64::MAX, ..record() };
        assert_eq!(Found::Record(Box::new(forged)).ttl(), Duration::from_secs(LONGEST_TTL));
        let forged = Record { ttl: 0, ..record() };
        assert_eq!(Found::Record(Box::new(forged)).ttl(), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            Found::read(&bytes);
        }
    }
}
