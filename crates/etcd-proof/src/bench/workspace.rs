//! A workspace of a bench's own, in which `xtask` is called as a user would call it. Nothing of the user's is touched,
//! and nothing of the user's settings gets in.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::Subject;
use super::process::{Finished, finish};

/// Its temporary files, those of ephemeral etcds among them.
const TMP: &str = "tmp";

/// A private workspace, and the program that works in it.
pub(super) struct Workspace {
    dir: PathBuf,
    xtask: PathBuf,
    etcd: Option<PathBuf>,
}

/// What `etcd-up` took and said.
pub(super) struct Up {
    pub(super) run: Finished,
    pub(super) ready_ms: f64,
    pub(super) endpoints: Vec<String>,
}

impl Workspace {
    /// One whose etcd is `etcd`, or else the version that is the default.
    pub(super) fn new(subject: &Subject<'_>, etcd: Option<&Path>) -> Result<Self> {
        let dir = subject.scratch.dir("workspace")?;
        fs::create_dir(dir.join(TMP))?;
        fs::write(dir.join("Cargo.toml"), "[workspace]\n\n[workspace.metadata.etcd]\nport = \"auto\"\n")?;
        Ok(Self { dir, xtask: subject.xtask.to_owned(), etcd: etcd.map(Path::to_owned) })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    pub(super) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(args);
        self.at_home(&mut command);
        command
    }

    /// Runs a command in this workspace, without what the user's environment says of etcd.
    pub(super) fn at_home(&self, command: &mut Command) {
        without_settings(command);
        command.current_dir(&self.dir).env("CARGO_MANIFEST_DIR", &self.dir).env("TMPDIR", self.path(TMP));
        command.envs(self.etcd.iter().map(|etcd| ("ETCDBINPATH", etcd)));
    }

    pub(super) fn up(&self) -> Result<Up> {
        #[derive(Deserialize)]
        struct Answer {
            ready_ms: f64,
            endpoints: Vec<String>,
        }

        let run = self.xtask(&["etcd-up", "--format", "json"])?;
        let answer = fs::read(self.path("out"))?;
        let Answer { ready_ms, endpoints } = serde_json::from_slice(&answer).context("`etcd-up` answered no JSON")?;
        Ok(Up { run, ready_ms, endpoints })
    }

    /// Runs `xtask` to a good end; `out` and `err` in the workspace have what it said.
    pub(super) fn xtask(&self, args: &[&str]) -> Result<Finished> {
        self.run(&mut self.command(args))
    }

    /// Runs a command to a good end; `out` and `err` in the workspace have what it said.
    pub(super) fn run(&self, command: &mut Command) -> Result<Finished> {
        let err = self.path("err");
        let run = finish(command.stdout(File::create(self.path("out"))?).stderr(File::create(&err)?))?;
        ensure!(
            run.success,
            "`{} {}` failed: {}",
            command.get_program().display(),
            command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" "),
            fs::read_to_string(&err)?.trim_end()
        );
        Ok(run)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.path(".etcd").exists() {
            let mut down = self.command(&["etcd-down"]);
            let _ = down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Takes away whatever the user's environment says of etcd: to us, to etcd itself and to etcdctl. Where programs come
/// from stays.
pub(super) fn without_settings(command: &mut Command) {
    const SOURCES: [&str; 3] = ["ETCD_CONSOLE", "ETCD_LOCAL_CACHE", "ETCD_RELEASE_MIRROR"];
    let is_setting = |name: &OsStr| {
        let name = name.to_string_lossy();
        name == "NEXTEST_PROFILE" || name.starts_with("ETCD") && !SOURCES.contains(&&*name)
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
}
