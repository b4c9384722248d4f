//! `torture up`: etcd-up, etcd-down, etcd-reset, etcd-install and the server that they own.

mod disk;
mod forged;
mod kills;
mod load;
mod parallel;
mod paused;
mod record;
mod strike;
mod thief;
mod thieves;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "kills", rounds: 1000, none: "processes leaked, 0 untrue states", play: kills::play },
    Part { name: "parallel", rounds: 20, none: "rounds without exactly one server", play: parallel::play },
    Part { name: "thieves", rounds: 200, none: "thieves accepted as ready", play: thieves::play },
    Part { name: "forged", rounds: 500, none: "wrong signals, 0 panics", play: forged::play },
    Part { name: "paused", rounds: 20, none: "stopped servers called ready, 0 hangs", play: paused::play },
    Part { name: "disk", rounds: 20, none: "keys lost on a full disk", play: disk::play },
    Part { name: "load", rounds: 100, none: "acknowledged writes lost", play: load::play },
];
