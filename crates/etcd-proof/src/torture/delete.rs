//! `torture delete`: `del` that is killed while another client writes, `undo`, and damaged undo files.

mod dels;
mod fixture;
mod undo_files;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "dels", rounds: 100, none: "keys lost, 0 keys outside changed", run: dels::run },
    Part { name: "undo-files", rounds: 100, none: "keys changed by damaged files, 0 panics", run: undo_files::run },
];
