//! `torture watch`: `cargo xtask watch` over connections that break and servers that die, forget, and are wiped.

mod faults;
mod follower;
mod history;
mod proxy;

use super::Part;

pub(super) const PARTS: &[Part] =
    &[Part { name: "faults", rounds: 20, none: "silent gaps, 0 duplicates", play: faults::play }];
