//! `run` and `test`: which etcd they use, the keeper of their run, and the commands inside it. The registry of runs and
//! what sweeps them are `etcd-sandbox`'s.

pub(crate) mod each_version;
mod escapes;
mod github;
pub(crate) mod keeper;
mod leaks;
mod nextest_report;
pub(crate) mod open_report;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod server;
mod server_health;
pub(crate) mod test;
pub(crate) mod test_results;
mod unexplained;
