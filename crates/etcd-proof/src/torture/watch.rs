//! `torture watch`: `cargo xtask watch` over connections that break, and servers that are killed, compacted and wiped.

mod faults;
mod follower;
mod history;

use super::Part;

pub(super) const PARTS: &[Part] =
    &[Part { name: "faults", rounds: 20, none: "silent gaps, 0 duplicates", run: faults::run }];
