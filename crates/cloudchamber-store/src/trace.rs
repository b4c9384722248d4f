//! What `traceLevel` asks for: an event of `tracing` for each operation, and for each value. Decides nothing.

use std::fmt;

use etcd_keys::text::Escaped;

use crate::key::Key;

/// How many bytes of a value are told.
const SHOWN: usize = 256;

/// How much is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u8);

impl Trace {
    pub(crate) fn new(level: u8) -> Self {
        Self(level)
    }

    /// An operation ended. Its words are made only if they are told.
    pub(crate) fn done<E: fmt::Display>(self, operation: impl fmt::Display, outcome: Result<i64, E>) {
        match outcome {
            _ if self.0 == 0 => {}
            Ok(revision) => tracing::debug!(revision, "{operation}"),
            Err(error) => tracing::debug!("cannot {operation}: {error}"),
        }
    }

    /// The store was disconnected: no revision did that.
    pub(crate) fn disconnected(self) {
        if self.0 > 0 {
            tracing::debug!("disconnect");
        }
    }

    /// A value was read or is to be written.
    pub(crate) fn value(self, what: &str, key: &Key, value: &[u8]) {
        if self.0 > 1 {
            let shown = value.get(..SHOWN).unwrap_or(value);
            tracing::trace!("{what} `{key}`, {} bytes: {}", value.len(), Escaped(shown));
        }
    }
}
