//! `torture runs`: test runs that are killed, or whose server is paused, and sweepers.

mod canaries;
mod killed;
mod stopped;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "killed", rounds: 50, none: "keys left, 0 processes left, 0 canaries changed", run: killed::run },
    Part { name: "stopped", rounds: 50, none: "live keys deleted", run: stopped::run },
];

/// The prefix of all runs.
const TEST_ROOT: &str = "/Inventory/v1/Test/";
