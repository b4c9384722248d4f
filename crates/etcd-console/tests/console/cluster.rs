//! An ephemeral etcd, and our program pointed at it.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use etcd_local::binary::Wanted;
use etcd_local::{Builder, Ephemeral};
pub(crate) use testkit::{Run, TIMEOUT, eventually, finish_child as finish};

pub(crate) struct Cluster {
    pub(crate) etcd: Ephemeral,
    pub(crate) dir: tempfile::TempDir,
    lock: Mutex<Option<File>>,
}

pub(crate) fn builder() -> Builder {
    builder_in(Path::new(env!("CARGO_MANIFEST_DIR")))
}

pub(crate) fn builder_in(workspace: &Path) -> Builder {
    testkit::builder(workspace)
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::of(builder())
    }

    pub(crate) fn of_version(version: &str) -> Self {
        Self::of(builder().etcd(Wanted::Exactly(version.parse().unwrap())))
    }

    pub(crate) fn of(builder: Builder) -> Self {
        Self { etcd: builder.start_ephemeral().unwrap(), dir: tempfile::tempdir().unwrap(), lock: Mutex::default() }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.lead(program(), args)
    }

    fn lead(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(["--home", self.dir.path().to_str().unwrap(), "--endpoints", &self.etcd.endpoints()[0]])
            .args(args);
        command
    }

    /// As in a workspace that does not say what its root is.
    pub(crate) fn run_without_root(&self, args: &[&str]) -> Run {
        finish(self.lead(bare_program(), args).spawn().unwrap())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args).spawn().unwrap())
    }

    /// Makes it the instance `default`, which runs, with this for a cluster id.
    pub(crate) fn record(&self, cluster_id: serde_json::Value) {
        let home = self.dir.path().join("default");
        std::fs::create_dir_all(&home).unwrap();
        let record = serde_json::json!({
            "schema": 1, "instance": "default", "endpoints": self.etcd.endpoints(), "peer_url": "http://127.0.0.1:1",
            "member": "m", "version": self.etcd.version(), "binary": self.etcd.binary(), "data_dir": "/data",
            "log": self.etcd.log(), "cluster_id": cluster_id, "pids": [1], "process": null, "ready_ms": null,
        });
        std::fs::write(home.join("instance.json"), record.to_string()).unwrap();
        let mut lock = self.lock.lock().unwrap();
        if lock.is_none() {
            *lock = etcd_workspace::open_exclusive(&etcd_workspace::member_lock(&home)).unwrap();
        }
    }

    /// The instance `default` does not run any more, whatever its record says.
    pub(crate) fn unlock(&self) {
        drop(self.lock.lock().unwrap().take());
    }

    /// Finds it by that record.
    pub(crate) fn of_record(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.args(["--home", self.dir.path().to_str().unwrap()]).args(args);
        command
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        assert_eq!(self.run(&["put", key, value]).ok().stdout, "OK\n");
    }

    pub(crate) fn fill(&self, prefix: &str, count: u32) {
        self.run(&["fill", "--prefix", prefix, "--count", &count.to_string()]).ok();
    }

    pub(crate) fn count(&self, prefix: &str) -> u64 {
        self.run(&["get", prefix, "--prefix", "--count-only"]).ok().stdout.trim().parse().unwrap()
    }

    pub(crate) fn revision(&self) -> i64 {
        let json = self.run(&["put", "/revision", "x", "--format", "json"]).ok().stdout;
        json.trim().strip_prefix("{\"revision\":").unwrap().strip_suffix('}').unwrap().parse().unwrap()
    }

    pub(crate) fn kill(&self) {
        let pid = rustix::process::Pid::from_raw(self.etcd.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Speaks to etcd's JSON gateway, for what the console has no command for.
    pub(crate) fn call(&self, path: &str, body: &str) -> String {
        let url = format!("{}/v3/{path}", self.etcd.endpoints()[0]);
        let answer = minreq::post(url).with_body(body).with_timeout(30).send().unwrap();
        answer.as_str().unwrap().to_owned()
    }
}

/// The undo file that a `del` with `--endpoints` named; the flag follows it.
#[track_caller]
pub(crate) fn undo_file(said: &str) -> String {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("undo: cargo xtask undo "));
    let named = line.and_then(|line| line.split_once(" --endpoints http://"));
    named.unwrap_or_else(|| panic!("no undo file: {said}")).0.to_owned()
}

pub(crate) fn program() -> Command {
    let mut command = bare_program();
    command.args(["--root", "/Inventory/v1"]);
    command
}

fn bare_program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-console"));
    command.env_remove("ETCD_ENDPOINTS").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The next line, and the reader for more; a failure if none comes.
#[track_caller]
pub(crate) fn next_line<R: BufRead + Send + 'static>(mut reader: R) -> (String, R) {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let _ = sender.send((line, reader));
    });
    lines.recv_timeout(TIMEOUT).unwrap()
}

/// The endpoint of a proxy on which every request takes its time, so that what is to be interrupted is still under way.
pub(crate) fn slow_proxy(endpoint: &str) -> String {
    let proxy = testkit::Proxy::start(endpoint).unwrap();
    proxy.delay(Duration::from_millis(120));
    proxy.endpoint()
}
