//! A door for the fuzz target, which sees no private function. Only there when it is built.

use crate::runs::record::Found;

/// What a run's record is.
#[must_use]
pub fn record(value: &[u8]) -> Found {
    Found::read(value)
}
