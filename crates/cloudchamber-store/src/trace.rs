//! What `traceLevel` asks for: an event of `tracing` for each operation, and for each value. Decides nothing.

use std::fmt;

use etcd_keys::text::Escaped;

use crate::error::Error;
use crate::key::Key;

/// How many bytes of a value are logged.
const SHOWN: usize = 256;

/// The level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u8);

impl Trace {
    pub(crate) fn new(level: u8) -> Self {
        Self(level)
    }

    /// Logs that an operation ended. Formats nothing at level 0.
    pub(crate) fn done(self, operation: impl fmt::Display, outcome: Result<i64, &Error>) {
        match outcome {
            _ if self.0 == 0 => {}
            Ok(revision) => tracing::debug!(revision, "{operation}"),
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// Logs that the store was disconnected, which has no revision.
    pub(crate) fn disconnected(self) {
        if self.0 > 0 {
            tracing::debug!("disconnect");
        }
    }

    /// Logs a value that was read or will be written.
    pub(crate) fn value(self, what: &str, key: &Key, value: &[u8]) {
        if self.0 > 1 {
            let shown = value.get(..SHOWN).unwrap_or(value);
            tracing::trace!("{what} `{key}`, {} bytes: {}", value.len(), Escaped(shown));
        }
    }
}
