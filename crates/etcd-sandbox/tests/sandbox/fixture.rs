//! An etcd for one test, a workspace for the processes that the test starts, and runs in that etcd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_local::Ephemeral;
use etcd_sandbox::etcd_keys::{Connect, Keys};
use etcd_sandbox::runs::{Entry, Plan, Registry, Roots, Run, RunId};
use tempfile::TempDir;

/// Where all runs of these tests are.
pub(crate) const TEST_ROOT: &str = "/Inventory/v1/Test/";

/// How many tests there are in `subject::forms`.
pub(crate) const FORMS: usize = 10;

/// How often a random test is repeated: `few` times, unless `XTASK_TEST_ROUNDS` is set.
pub(crate) fn rounds(few: usize) -> usize {
    std::env::var("XTASK_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(few)
}

pub(crate) struct Server {
    pub(crate) etcd: Ephemeral,
    pub(crate) dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let server = Self { etcd: testkit::Etcd::V3_7.alone(&[]), dir: workspace() };
        assert!(server.lock_dir().starts_with(server.dir.path()));
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        self.etcd.endpoints()[0].clone()
    }

    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.dir.path().join(".etcd/.runs")
    }

    /// A client of its own, as another process has it.
    pub(crate) async fn registry(&self) -> Registry {
        Self::registry_at(self.endpoint()).await
    }

    pub(crate) async fn registry_at(endpoint: String) -> Registry {
        let connection = Connect::new([endpoint]).connect().await.unwrap();
        Registry::new(&connection, Roots::new("/Inventory/v1", "Test", &[]).unwrap())
    }

    /// A run with `keys` keys. Its owner is in this process; `plan` may say that it is of another host.
    pub(crate) async fn run(&self, registry: &Registry, plan: impl FnOnce(Plan) -> Plan, keys: usize) -> Run {
        let plan = plan(Plan::new(self.lock_dir(), "a test").ttl(Duration::from_secs(1)));
        let run = Run::start(registry, plan).await.unwrap();
        fill(&registry.connection().all_keys(), &format!("{}t~1/", run.prefix()), keys).await;
        run
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.etcd.pid());
    }

    /// Tests of `subject`, in a process of their own that is ready to be spawned.
    pub(crate) fn subject(&self, tests: &[&str]) -> Command {
        let mut command = subject(self.dir.path(), tests);
        command.env("ETCD_ENDPOINTS", self.endpoint()).env("SUBJECT_ETCD_PID", self.etcd.pid().to_string());
        command
    }

    /// The test `subject::scenario`, told what to do.
    pub(crate) fn scenario(&self, name: &str) -> Command {
        let mut command = self.subject(&["scenario"]);
        command.env("SUBJECT_SCENARIO", name);
        command
    }
}

/// A workspace with a directory for instances, and no instance.
pub(crate) fn workspace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".etcd")).unwrap();
    std::fs::write(dir.path().join("Cargo.toml"), "[workspace.metadata.etcd]\nroot = \"/Inventory/v1\"\n").unwrap();
    dir
}

pub(crate) fn subject(workspace: &Path, tests: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["ETCD_ENDPOINTS", "ETCD_TEST_RUN", "ETCD_TEST_PREFIX", "ETCDBINPATH", "RUST_LOG", "RUST_TEST_THREADS"]
    {
        command.env_remove(name);
    }
    command.env("CARGO_MANIFEST_DIR", workspace).arg("--nocapture");
    // One test that is named in full, or all tests of a module.
    if tests.iter().all(|test| !test.ends_with("::")) {
        command.arg("--exact");
    }
    command.args(tests.iter().map(|test| format!("subject::{test}")));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A finished process.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn passed(&self, tests: usize) {
        let passed = self.out.contains(&format!("{tests} passed; 0 failed"));
        assert!(self.code == Some(0) && passed, "{}", self.out);
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is missing: {}", self.out);
        }
    }
}

/// Waits for the end of a process.
pub(crate) fn finish(child: Child) -> Finished {
    let run = testkit::finish_child(child);
    Finished { code: run.code, out: run.stdout + &run.stderr }
}

/// Runs a process to its end, from an async test.
pub(crate) async fn finished(mut command: Command) -> Finished {
    tokio::task::spawn_blocking(move || finish(command.spawn().unwrap())).await.unwrap()
}

pub(crate) fn kill(signal: &str, pid: u32) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

/// Writes `count` keys below a prefix.
pub(crate) async fn fill(keys: &Keys, prefix: &str, count: usize) {
    use etcd_sandbox::etcd_keys::kv::{Put, Txn};
    let all: Vec<_> = (0..count).collect();
    for some in all.chunks(100) {
        let puts = some.iter().fold(Txn::new(), |txn, n| txn.then(Put::new(format!("{prefix}{n:06}"), "v")));
        keys.send(puts).await.unwrap();
    }
}

pub(crate) async fn count(registry: &Registry, prefix: &str) -> i64 {
    use etcd_sandbox::etcd_keys::KeyRange;
    registry.connection().all_keys().count(KeyRange::prefix(prefix)).await.unwrap()
}

pub(crate) async fn entry(registry: &Registry, id: &RunId) -> Entry {
    registry.entry(id).await.unwrap().unwrap()
}

/// Looks again until it is true.
pub(crate) async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    while !look().await {
        assert!(began.elapsed() < testkit::TIMEOUT, "never: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(Duration::from_millis(50));
    }
}

/// Until the run of a killed process has no heartbeat any more.
pub(crate) async fn silent(registry: &Registry, id: &RunId) -> Entry {
    eventually("the run falls silent", async || !entry(registry, id).await.alive).await;
    entry(registry, id).await
}

/// Keys around the test root that nothing may change.
pub(crate) struct Canaries(Vec<(Vec<u8>, Vec<u8>, i64)>);

const AROUND: [&str; 9] = [
    "/Inventory/v1/Test",
    "/Inventory/v1/Testament",
    "/Inventory/v1/Testament/x",
    "/Inventory/v1/Tes",
    "/Inventory/v1/Test0",
    "/Inventory/v1/test/x",
    "/Inventory/v1",
    "/",
    "~",
];

impl Canaries {
    pub(crate) async fn put(registry: &Registry, count: usize) -> Self {
        let keys = registry.connection().all_keys();
        for key in AROUND {
            keys.put(key, "canary").await.unwrap();
        }
        fill(&keys, "/Inventory/v1/racks/", count).await;
        Self(Self::all(registry).await)
    }

    pub(crate) async fn check(&self, registry: &Registry) {
        assert!(self.0 == Self::all(registry).await, "keys outside the test root have changed");
    }

    async fn all(registry: &Registry) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        let found = registry.connection().all_keys().prefix("").await.unwrap().kvs;
        let outside = found.into_iter().filter(|kv| !kv.key.starts_with(TEST_ROOT.as_bytes()));
        outside.map(|kv| (kv.key, kv.value, kv.mod_revision)).collect()
    }
}
