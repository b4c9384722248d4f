//! Servers, one a version, shared by all tests of the process and gone with it; one runtime that their
//! connections live on, while each test brings its own.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use etcd_keys::{Connect, Connection, Keys};
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Settings};
use tokio::runtime::{Handle, Runtime};

/// An etcd that the system has, of 3.4 on the machines that we know.
const SYSTEM: &str = "/usr/bin/etcd";

pub(crate) fn builder() -> Builder {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache);
    Builder::with_settings(env, env!("CARGO_MANIFEST_DIR"), Settings::default())
}

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

/// Held until the process ends.
type Server = (Mutex<Ephemeral>, Connection);

/// A version that the tests run against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Etcd {
    System,
    V3_5,
    V3_6,
    V3_7,
}

impl Etcd {
    /// `None`: it is not on this machine, and cannot be had.
    pub(crate) fn connection(self) -> Option<Connection> {
        static SERVERS: [OnceLock<Option<Server>>; 4] = [const { OnceLock::new() }; 4];
        let server = SERVERS[self as usize].get_or_init(|| {
            let etcd = builder().etcd(self.wanted()?).start_ephemeral().unwrap();
            // From another thread: a test's runtime must not wait for itself.
            let connecting = connect(&etcd).connect();
            let connection = std::thread::scope(|scope| scope.spawn(|| runtime().block_on(connecting)).join());
            Some((Mutex::new(etcd), connection.unwrap().unwrap()))
        });
        server.as_ref().map(|(_, connection)| connection.clone())
    }

    /// A server for one test alone.
    pub(crate) fn own(self, arg: Option<&str>) -> Option<Ephemeral> {
        let builder = builder().etcd(self.wanted()?);
        Some(arg.into_iter().fold(builder, |builder, arg| builder.arg(arg)).start_ephemeral().unwrap())
    }

    fn wanted(self) -> Option<Wanted> {
        match self {
            Self::System => Path::new(SYSTEM).exists().then(|| Wanted::At(SYSTEM.into())),
            Self::V3_5 => Some(Wanted::Exactly(semver::Version::new(3, 5, 27))),
            Self::V3_6 => Some(Wanted::Exactly(semver::Version::new(3, 6, 7))),
            Self::V3_7 => Some(Wanted::Exactly(semver::Version::new(3, 7, 2))),
        }
    }

    /// A test's own keys.
    pub(crate) fn keys(self, test: &str) -> Option<Keys> {
        self.connection().map(|connection| connection.namespace(format!("/{test}/")).unwrap())
    }
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
            match $crate::fixture::Etcd::$etcd.own($arg) {
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
            match $crate::fixture::Etcd::$etcd.keys(stringify!($name)) {
                Some(keys) => check(keys).await,
                None => $crate::fixture::skipped("this machine has no such etcd"),
            }
        }
    };
}
