//! One etcd server: how it is started, whether it is ready, what its log says, how its database does. Nothing here knows
//! instances.

pub(crate) mod counters;
pub(crate) mod election;
pub(crate) mod free_ports;
pub(crate) mod health;
mod http;
pub(crate) mod launch;
pub(crate) mod launch_error;
pub(crate) mod leader;
pub(crate) mod log;
pub(crate) mod membership;
pub(crate) mod ports;
pub(crate) mod readiness;
pub(crate) mod users;
