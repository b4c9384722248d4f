//! Servers, one a version, shared by all tests of the process and gone with it; one runtime that their
//! connections live on, while each test brings its own.

use std::io::Write as _;
use std::sync::OnceLock;

use etcd_keys::{Connect, Connection, Keys};
use etcd_local::{Builder, Ephemeral};
pub(crate) use testkit::Etcd;
use tokio::runtime::{Handle, Runtime};

pub(crate) fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    RUNTIME.get_or_init(build).handle()
}

pub(crate) fn connect(etcd: &Ephemeral) -> Connect {
    Connect::new(etcd.endpoints()).runtime(runtime().clone())
}

/// Says what this machine cannot test, and why. Past the test harness, which shows nothing of tests that pass.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

pub(crate) fn builder() -> Builder {
    testkit::builder(env!("CARGO_MANIFEST_DIR"))
}

/// To the server that all tests of the process share. `None`: this machine does not have the version.
pub(crate) fn connection(etcd: Etcd) -> Option<Connection> {
    static CONNECTIONS: [OnceLock<Connection>; 4] = [const { OnceLock::new() }; 4];
    etcd.wanted()?;
    let connection = CONNECTIONS[etcd as usize].get_or_init(|| {
        // From another thread: a test's runtime must not wait for itself.
        let connecting = Connect::new([etcd.shared_endpoint()]).runtime(runtime().clone()).connect();
        std::thread::scope(|scope| scope.spawn(|| runtime().block_on(connecting)).join()).unwrap().unwrap()
    });
    Some(connection.clone())
}

/// A server for one test alone.
pub(crate) fn own(etcd: Etcd, arg: Option<&str>) -> Option<Ephemeral> {
    etcd.wanted()?;
    Some(etcd.alone(arg.as_slice()))
}

/// A test's own keys on the shared server.
pub(crate) fn keys(etcd: Etcd, test: &str) -> Option<Keys> {
    connection(etcd).map(|connection| connection.keys(format!("/{test}/")).unwrap())
}

/// Tests that run against 3.5 and 3.7, and against the system's etcd if there is one. 3.6 is left out: in these tests it
/// behaves as 3.5 or 3.7 does. Each test has a namespace on the shared servers, or, with `own`, a server of its own, with
/// an argument perhaps.
macro_rules! on_every_etcd {
    ($($(#[$doc:meta])* async fn $name:ident($keys:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$doc])*
            async fn check($keys: etcd_keys::Keys) $body

            on_every_etcd!(@one $name, system, System);
            on_every_etcd!(@one $name, etcd_3_5, V3_5);
            on_every_etcd!(@one $name, etcd_3_7, V3_7);
        }
    )*};
    (own($arg:expr): async fn $name:ident($etcd:ident, $connect:ident) $body:block) => {
        mod $name {
            use super::*;

            async fn check($etcd: etcd_local::Ephemeral, $connect: etcd_keys::Connect) $body

            on_every_etcd!(@own $arg, system, System);
            on_every_etcd!(@own $arg, etcd_3_5, V3_5);
            on_every_etcd!(@own $arg, etcd_3_7, V3_7);
        }
    };
    (@own $arg:expr, $test:ident, $etcd:ident) => {
        #[tokio::test]
        async fn $test() {
            match $crate::fixture::own($crate::fixture::Etcd::$etcd, $arg) {
                Some(etcd) => {
                    let connect = $crate::fixture::connect(&etcd);
                    check(etcd, connect).await;
                }
                None => $crate::fixture::skipped("this machine has no such etcd"),
            }
        }
    };
    (@one $name:ident, $test:ident, $etcd:ident) => {
        #[tokio::test]
        async fn $test() {
            match $crate::fixture::keys($crate::fixture::Etcd::$etcd, stringify!($name)) {
                Some(keys) => check(keys).await,
                None => $crate::fixture::skipped("this machine has no such etcd"),
            }
        }
    };
}
