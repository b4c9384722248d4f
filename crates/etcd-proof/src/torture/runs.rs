//! `torture runs`: test runs that are killed, or whose server stands still, and those who sweep.

mod canaries;
mod killed;
mod stopped;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "killed", rounds: 50, none: "keys left, 0 processes left, 0 canaries changed", play: killed::play },
    Part { name: "stopped", rounds: 50, none: "live keys deleted", play: stopped::play },
];

/// Where runs are.
const TEST_ROOT: &str = "/CloudChamber/v0.1/Test/";
