//! An ephemeral etcd, and our program pointed at it.

use std::fs::File;
use std::io::BufRead;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Settings};

/// Longer than anything here takes, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) etcd: Ephemeral,
    pub(crate) dir: tempfile::TempDir,
    lock: Mutex<Option<File>>,
}

/// One finished call.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Fails with this code and one error that says all of this, and its next step.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_eq!(self.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{self:#?}");
        assert!(self.stderr.contains("hint: ") && !self.stderr.contains("panicked"), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing: {self:#?}");
        }
    }
}

pub(crate) fn builder() -> Builder {
    builder_in(Path::new(env!("CARGO_MANIFEST_DIR")))
}

pub(crate) fn builder_in(workspace: &Path) -> Builder {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-local-cache");
    let env = Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", cache).without("ETCDBINPATH");
    Builder::with_settings(env, workspace, Settings::default())
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
        let mut command = program();
        command
            .args(["--home", self.dir.path().to_str().unwrap(), "--endpoints", &self.etcd.endpoints()[0]])
            .args(args);
        command
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
        assert_eq!(self.run(&["put", key, value]).ok(), "OK\n");
    }

    pub(crate) fn fill(&self, prefix: &str, count: u32) {
        self.run(&["fill", "--prefix", prefix, "--count", &count.to_string()]).ok();
    }

    pub(crate) fn count(&self, prefix: &str) -> u64 {
        self.run(&["get", prefix, "--prefix", "--count-only"]).ok().trim().parse().unwrap()
    }

    pub(crate) fn revision(&self) -> i64 {
        let json = self.run(&["put", "/revision", "x", "--format", "json"]).ok();
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-console"));
    command.env_remove("ETCD_ENDPOINTS").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end, or kills what takes too long.
pub(crate) fn finish(child: Child) -> Run {
    let pid = rustix::process::Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let killer = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE).is_err() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    killer.join().unwrap();
    output.into()
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
    lines.recv_timeout(PATIENCE).unwrap()
}

pub(crate) fn eventually(mut look: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if look() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    false
}
