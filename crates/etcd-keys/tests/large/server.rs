//! Servers for tests: one of each version shared by all, and persistent ones to kill and wipe. And keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use etcd_client::{Txn, TxnOp};
use etcd_keys::pages::Pages;
use etcd_keys::{Connect, Connection, KeyRange};
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Instance, Port, Settings};
use tempfile::TempDir;

/// An etcd that the system has, of 3.4 on the machines that we know.
const SYSTEM: &str = "/usr/bin/etcd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Etcd {
    System,
    V3_5,
    V3_6,
    V3_7,
}

/// The etcds that these tests run against. 3.6 is left out: in these tests it behaves as 3.5 or 3.7 does.
pub(crate) fn every() -> impl Iterator<Item = Etcd> {
    [Etcd::System, Etcd::V3_5, Etcd::V3_7].into_iter().filter(|etcd| etcd.wanted().is_some())
}

/// Runs a test on every version at the same time: most tests wait more than they compute.
pub(crate) async fn on_every<F: Future<Output = ()>>(test: impl Fn(Etcd) -> F) {
    let mut running: Vec<_> = every().map(|etcd| Box::pin(test(etcd))).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|test| test.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl Etcd {
    fn wanted(self) -> Option<Wanted> {
        match self {
            Self::System => Path::new(SYSTEM).exists().then(|| Wanted::At(SYSTEM.into())),
            Self::V3_5 => Some(Wanted::Exactly(semver::Version::new(3, 5, 27))),
            Self::V3_6 => Some(Wanted::Exactly(semver::Version::new(3, 6, 7))),
            Self::V3_7 => Some(Wanted::Exactly(semver::Version::new(3, 7, 2))),
        }
    }

    fn builder(self, workspace: &Path) -> Builder {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
        let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache);
        Builder::with_settings(env, workspace, Settings::default()).etcd(self.wanted().unwrap())
    }

    /// The server of this version that tests share, each below a prefix of its own.
    pub(crate) fn endpoint(self) -> String {
        static SERVERS: [OnceLock<Mutex<Ephemeral>>; 4] = [const { OnceLock::new() }; 4];
        let start = || Mutex::new(self.alone());
        SERVERS[self as usize].get_or_init(start).lock().unwrap().endpoints()[0].clone()
    }

    pub(crate) async fn connection(self) -> Connection {
        connect(&self.endpoint()).await
    }

    /// A server that no other test uses.
    pub(crate) fn alone(self) -> Ephemeral {
        self.builder(Path::new(env!("CARGO_MANIFEST_DIR"))).start_ephemeral().unwrap()
    }

    /// The same, with an argument.
    pub(crate) fn alone_with(self, arg: &str) -> Ephemeral {
        self.builder(Path::new(env!("CARGO_MANIFEST_DIR"))).arg(arg).start_ephemeral().unwrap()
    }

    pub(crate) fn persistent(self) -> Persistent {
        let dir = tempfile::tempdir().unwrap();
        let instance = self.builder(dir.path()).port(Port::Auto).peer_port(Port::Auto).instance("test").unwrap();
        instance.up().unwrap();
        Persistent { instance, _dir: dir }
    }
}

pub(crate) async fn connect(endpoint: &str) -> Connection {
    // Dead servers are to be noticed soon.
    let connect = Connect::new([endpoint]).keep_alive(Duration::from_millis(5_200), Duration::from_secs(1));
    connect.connect().await.unwrap()
}

/// A server that outlives its process.
pub(crate) struct Persistent {
    instance: Instance,
    _dir: TempDir,
}

impl Persistent {
    pub(crate) fn endpoint(&self) -> String {
        self.instance.status().unwrap().endpoints[0].clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        for pid in self.instance.status().unwrap().pids {
            assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        }
    }

    /// Starts it again where it was.
    pub(crate) fn up(&self) {
        let began = std::time::Instant::now();
        while self.instance.up().is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not come back");
        }
    }

    /// Wipes it and starts it again where it was.
    pub(crate) fn reset(&self) {
        self.instance.reset().unwrap();
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        let _ = self.instance.down();
    }
}

/// Writes `count` keys `<prefix>000000` and up, with values of `size` bytes.
pub(crate) async fn fill(connection: &Connection, prefix: &str, count: usize, size: usize) {
    let all: Vec<_> = (0..count).collect();
    let at_once = (1_000_000 / (size + 100)).clamp(1, 100);
    for some in all.chunks(at_once) {
        let put = |n: &usize| TxnOp::put(format!("{prefix}{n:06}"), vec![b'v'; size], None);
        connection.kv().txn(Txn::new().and_then(some.iter().map(put).collect::<Vec<_>>())).await.unwrap();
    }
}

pub(crate) type Contents = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// Keys with values and revisions.
pub(crate) async fn contents(connection: &Connection, prefix: &str) -> Contents {
    let mut pages = Pages::new(connection, KeyRange::prefix(prefix));
    let mut contents = Contents::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        for entry in page.entries() {
            contents.insert(entry.key().to_vec(), (entry.value().to_vec(), entry.mod_revision()));
        }
    }
    contents
}

pub(crate) async fn put(connection: &Connection, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> i64 {
    connection.kv().put(key, value, None).await.unwrap().header().unwrap().revision()
}

pub(crate) async fn compact(connection: &Connection) -> i64 {
    let revision = connection.kv().get("\0", None).await.unwrap().header().unwrap().revision();
    connection.kv().compact(revision, None).await.unwrap();
    revision
}

/// Runs what must not hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("it hangs"))
}
