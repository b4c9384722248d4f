//! `torture up`: etcd-up, etcd-down, etcd-reset, etcd-install and their server.

mod disk;
mod forged;
mod kill_time;
mod kills;
mod load;
mod parallel;
mod paused;
mod port_taker;
mod record;
mod taken_ports;

use super::Part;

pub(super) const PARTS: &[Part] = &[
    Part { name: "kills", rounds: 1000, none: "processes leaked, 0 untrue states", run: kills::run },
    Part { name: "parallel", rounds: 20, none: "rounds without exactly one server", run: parallel::run },
    Part { name: "ports", rounds: 200, none: "foreign servers accepted as ready", run: taken_ports::run },
    Part { name: "forged", rounds: 500, none: "wrong signals, 0 panics", run: forged::run },
    Part { name: "paused", rounds: 20, none: "stopped servers called ready, 0 hangs", run: paused::run },
    Part { name: "disk", rounds: 20, none: "keys lost on a full disk", run: disk::run },
    Part { name: "load", rounds: 100, none: "acknowledged writes lost", run: load::run },
];
