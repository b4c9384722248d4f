//! A workspace to play in: private directories, a scrubbed environment, a cache of etcds shared by the suite.
//! When it goes, it checks that nothing of it is left running.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use etcd_local::binary::{Binaries, Route, Tool, Wanted};
use etcd_local::{Env, Status};
pub(crate) use testkit::{Run, eventually, finish, free_port, leftovers::remove_if_killed};

use crate::machine::{kept, plain_path};

/// A program that does nothing, well.
pub(crate) const TRUE: &str = if cfg!(target_os = "linux") { "/bin/true" } else { "/usr/bin/true" };

pub(crate) struct Playground {
    pub(crate) dir: tempfile::TempDir,
    vars: Vec<(String, String)>,
    mounted: bool,
}

impl Playground {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::Builder::new().prefix("play-").tempdir().unwrap())
    }

    pub(crate) fn at(dir: tempfile::TempDir) -> Self {
        remove_if_killed(dir.path());
        for sub in ["tmp", "home"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let this = Self { dir, vars: Vec::new(), mounted: false };
        this.configure("port = \"auto\"");
        this
    }

    /// For a project whose tests cargo builds: quickly, as nobody debugs them.
    pub(crate) fn that_builds(self) -> Self {
        self.with("CARGO_PROFILE_DEV_DEBUG", "0").with("CARGO_INCREMENTAL", "0")
    }

    /// With a small file system of its own as `small`; `None` where this user may not mount one.
    pub(crate) fn on_tmpfs(size: &str) -> Option<Self> {
        let mut this = Self::new();
        let small = this.path("small");
        fs::create_dir(&small).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&small);
        mount.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mounted = finish(mount);
        this.mounted = mounted.code == Some(0);
        if !this.mounted {
            skipped(format_args!("no file system may be mounted here: {}", mounted.stderr.trim()));
        }
        this.mounted.then_some(this)
    }

    pub(crate) fn configure(&self, metadata: &str) {
        let root = if metadata.contains("root = ") { "" } else { "root = \"/Inventory/v1\"\n" };
        let manifest = format!("[workspace]\n\n[workspace.metadata.etcd]\n{root}{metadata}\n");
        fs::write(self.path("Cargo.toml"), manifest).unwrap();
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.vars.push((name.to_owned(), value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("CARGO_MANIFEST_DIR", self.dir.path());
        for inherited in ["CARGO_HOME", "RUSTUP_HOME", "HOME"] {
            if let Some(value) = std::env::var_os(inherited) {
                command.env(inherited, value);
            }
        }
        // In `$HOME/go/bin` there may be an etcd, too.
        command.env("PATH", plain_path()).env("GOPATH", self.path("go"));
        command.env("TMPDIR", self.path("tmp")).env("ETCD_LOCAL_CACHE", shared_cache());
        // As in a workspace that has one: nothing is fetched, and what others build is not built anew.
        command.env("PROTOC", std::env::var_os("PROTOC").unwrap_or_else(|| TRUE.into())).envs(testkit::GO);
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn xtask<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        finish(self.command(args))
    }

    /// `etcd-up` with more arguments; the answer as JSON.
    #[track_caller]
    pub(crate) fn up(&self, args: &[&str]) -> Status {
        let line: Vec<&str> = ["etcd-up", "--format", "json"].iter().chain(args).copied().collect();
        self.xtask(&line).ok().status()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        self.xtask(&["etcd-status", "--format", "json"]).status()
    }

    /// Every process, zombies aside, that this workspace's directory is an argument of; none where there is no /proc.
    pub(crate) fn processes(&self) -> Vec<String> {
        let mark = self.dir.path().to_str().unwrap();
        let is_alive = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| pid.parse::<u32>().is_ok())
            .filter_map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                (line.contains(mark) && is_alive(&pid)).then(|| format!("{pid} {line}"))
            })
            .collect()
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let instances = fs::read_dir(self.path(".etcd")).into_iter().flatten().flatten();
        for instance in instances.filter(|entry| entry.path().is_dir()) {
            let name = instance.file_name().into_string().unwrap();
            self.xtask(&["etcd-down", "--instance", &name]);
        }
        if self.mounted {
            let _ = Command::new("umount").arg(self.path("small")).status();
        }
        if !std::thread::panicking() {
            assert!(eventually(|| self.processes().is_empty()), "left running: {:#?}", self.processes());
        }
    }
}

/// Says what this machine cannot test, and why. Past the test harness, which shows nothing of tests that pass.
pub(crate) fn skipped(why: impl std::fmt::Display) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Runs a command of the system's; `None`, and a word about it, where this user may not.
pub(crate) fn privileged(line: &[&str]) -> Option<()> {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = finish(command);
    if run.code != Some(0) {
        skipped(format_args!("`{}` is not permitted here: {}", line.join(" "), run.stderr.trim()));
        return None;
    }
    Some(())
}

/// Builds what commands that make runs need, however long that takes: no test should be killed for it. Where it is.
pub(crate) fn build_console() -> &'static Path {
    static CONSOLE: OnceLock<PathBuf> = OnceLock::new();
    CONSOLE.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // Where nobody answers, it fails once the program is there.
        command.args(["runs", "--endpoints", "http://127.0.0.1:1"]);
        let output = command.current_dir(workspace).env("CARGO_MANIFEST_DIR", workspace).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("http://127.0.0.1:1"), "{said}");
        let debug = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap();
        fs::read_to_string(debug.join(".etcd-console-is-fresh")).unwrap().into()
    })
}

/// The suite's own cache, so that no user's is touched and a version is installed once.
pub(crate) fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| kept().join("etcd-local-cache"))
}

/// An etcd of this version, from the Cargo registry.
pub(crate) fn etcd(version: &str) -> PathBuf {
    static ENV: OnceLock<Env> = OnceLock::new();
    let env = ENV.get_or_init(|| Env::from_process().unwrap().with("ETCD_LOCAL_CACHE", shared_cache()));
    let binaries = Binaries::new(env.clone(), env!("CARGO_MANIFEST_DIR"));
    binaries.install(Tool::Etcd, &Wanted::Exactly(version.parse().unwrap()), Route::Auto, None).unwrap().path
}

/// A program that passes for etcd until it is started; then it runs `body`, a shell script.
pub(crate) fn fake_etcd(dir: &Path, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let path = dir.join("etcd");
    let script = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo 'etcd Version: 3.7.2' && exit 0\n{body}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// An etcd that lives on when its data directory is deleted. Others end 30 s after their start, when they look there for
/// what they could purge: `purgeFile` in etcd's server/etcdserver/server.go.
pub(crate) fn lasting_etcd(play: &Playground) -> PathBuf {
    let real = etcd("3.7.2");
    fake_etcd(play.dir.path(), &format!("exec '{}' \"$@\" --max-wals=0 --max-snapshots=0", real.display()))
}

pub(crate) fn port(status: &Status) -> u16 {
    status.endpoints[0].rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Asks etcd's JSON gateway, which wants base64.
pub(crate) fn gateway(status: &Status, path: &str, body: String) -> serde_json::Value {
    let url = format!("{}/v3/{path}", status.endpoints[0]);
    let answer = minreq::post(url).with_body(body).with_timeout(10).send().unwrap();
    serde_json::from_str(answer.as_str().unwrap()).unwrap()
}

/// Writes a key; `a2V5` is `key`.
pub(crate) fn put(status: &Status, value: &str) {
    gateway(status, "kv/put", format!(r#"{{"key":"a2V5","value":"{value}"}}"#));
}

/// The value that [`put`] wrote.
pub(crate) fn get(status: &Status) -> Option<String> {
    let answer = gateway(status, "kv/range", r#"{"key":"a2V5"}"#.to_owned());
    Some(answer.pointer("/kvs/0/value")?.as_str()?.to_owned())
}

/// A number of six digits as a key, in base64.
pub(crate) fn encoded(number: u32) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{number:06}");
    // Three bytes make four characters.
    let groups =
        text.as_bytes().chunks(3).map(|group| group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)));
    groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))).collect()
}
