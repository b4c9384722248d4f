//! What to do next about an error. Commands are named here, and nowhere else in this crate: a failing test shows them,
//! by `Debug` of `Error`, and `Display` never does.

pub(crate) const LOOK: &str = "`cargo xtask etcd-status` shows how it is";
pub(crate) const START: &str = "`cargo xtask etcd-up` starts it; `cargo xtask test` brings an etcd along";
pub(crate) const WAIT: &str = "`cargo xtask etcd-up` waits until it is ready";
pub(crate) const START_OTHERS: &str = "`cargo xtask etcd-up` starts the others";
pub(crate) const CORRECT: &str = "`cargo xtask etcd-up` corrects the record; ETCD_ENDPOINTS names another etcd";
pub(crate) const NAMED: &str =
    "ETCD_ENDPOINTS leads there; without it tests use the workspace's own etcd, which `cargo xtask etcd-up` starts";
pub(crate) const NAME_ONE: &str = "run the tests with cargo, or set ETCD_ENDPOINTS";
pub(crate) const LEAVE_RUN: &str = "unset ETCD_TEST_RUN and ETCD_TEST_PREFIX, or use `cargo xtask run`";
pub(crate) const SET_BY_RUNNER: &str = "`cargo xtask test` and `cargo xtask run` set it";
pub(crate) const OWN_ETCD: &str = "give a test that compacts an etcd of its own: `#[etcd_sandbox::test(private)]`";

pub(crate) const FENCED: &str = "this run is fenced: its tests can use only keys below ETCD_TEST_PREFIX; use the sandbox's keys, \
                               or run the tests with --no-fence";

/// Where another etcd listens on the port of the workspace's own.
pub(crate) fn beside(url: &str) -> String {
    format!(
        "`cargo xtask etcd-up --port auto` starts this workspace's own beside it; `cargo xtask test` brings one along; \
         ETCD_ENDPOINTS={url} uses that one"
    )
}
