//! For the fuzz target, which cannot call private functions. Compiled only for it.

use crate::runs::record::Found;

/// Reads a run's record.
#[must_use]
pub fn record(value: &[u8]) -> Found {
    Found::read(value)
}
