//! `torture delete`: `del` that is killed while others write, `undo`, and undo files that somebody damaged.

mod dels;
mod scene;
mod undo_files;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "dels", rounds: 100, none: "keys lost, 0 keys outside changed", play: dels::play },
    Part { name: "undo-files", rounds: 100, none: "keys changed by damaged files, 0 panics", play: undo_files::play },
];
