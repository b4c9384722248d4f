//! A private workspace of a bench, in which `xtask` is called as a user would call it. It changes no file of the
//! user's, and ignores the user's settings.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::Setup;
use super::measured::{Measurement, run};
use crate::workspace::{self, command_line};

pub(super) struct BenchWorkspace {
    dir: PathBuf,
    xtask: PathBuf,
    etcd: Option<PathBuf>,
}

/// The cost of an `etcd-up`, and its answer.
pub(super) struct Up {
    pub(super) measured: Measurement,
    pub(super) ready_ms: f64,
    pub(super) endpoints: Vec<String>,
    pub(super) pids: Vec<u32>,
}

impl BenchWorkspace {
    /// With the program `etcd`, or else the default version.
    pub(super) fn new(setup: &Setup<'_>, etcd: Option<&Path>) -> Result<Self> {
        let dir = setup.scratch.subdir("workspace")?;
        workspace::create(&dir)?;
        Ok(Self { dir, xtask: setup.xtask.to_owned(), etcd: etcd.map(Path::to_owned) })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    pub(super) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(args);
        self.enter(&mut command);
        command
    }

    /// Has a command run in this workspace, without what the user's environment says about etcd.
    pub(super) fn enter(&self, command: &mut Command) {
        workspace::remove_settings(command);
        workspace::enter(command, &self.dir);
        command.envs(self.etcd.iter().map(|etcd| ("ETCDBINPATH", etcd)));
    }

    pub(super) fn up(&self) -> Result<Up> {
        #[derive(Deserialize)]
        struct Answer {
            ready_ms: f64,
            endpoints: Vec<String>,
            pids: Vec<u32>,
        }

        let measured = self.xtask(&["etcd-up", "--format", "json"])?;
        let answer = fs::read(self.path(".out"))?;
        let Answer { ready_ms, endpoints, pids } =
            serde_json::from_slice(&answer).context("`etcd-up` did not print JSON")?;
        Ok(Up { measured, ready_ms, endpoints, pids })
    }

    /// Runs `xtask`, which must succeed. Its output is in the files `.out` and `.err` of the workspace.
    pub(super) fn xtask(&self, args: &[&str]) -> Result<Measurement> {
        self.run(&mut self.command(args))
    }

    /// Runs a command, which must succeed. Its output is in the files `.out` and `.err` of the workspace.
    pub(super) fn run(&self, command: &mut Command) -> Result<Measurement> {
        // Hidden: another file would be a source that has changed, and the tests would be built again each time.
        let err = self.path(".err");
        let measured = run(command.stdout(File::create(self.path(".out"))?).stderr(File::create(&err)?))?;
        let stderr = fs::read_to_string(&err)?;
        ensure!(measured.success, "`{}` failed: {}", command_line(command), stderr.trim_end());
        Ok(measured)
    }
}

impl Drop for BenchWorkspace {
    fn drop(&mut self) {
        if self.path(".etcd").exists() {
            let mut down = self.command(&["etcd-down"]);
            let _ = down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
