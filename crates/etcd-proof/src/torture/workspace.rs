//! A workspace to torture: private directories, a clean environment, free ports. Its calls are those of a user.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use etcd_local::{State, Status};
use rustix::process::Signal;

use super::calls::{FinishedCall, RunningCall};
use crate::{processes, wait, workspace};

/// The programs under torture, and those that they run.
pub(super) struct Programs {
    pub(super) xtask: PathBuf,
    pub(super) console: PathBuf,
    pub(super) etcd: PathBuf,
    /// This program.
    pub(super) proof: PathBuf,
}

pub(super) struct TortureWorkspace<'a> {
    pub(super) dir: PathBuf,
    /// The directory for the output of its calls.
    output: PathBuf,
    programs: &'a Programs,
    calls: Cell<u32>,
}

impl<'a> TortureWorkspace<'a> {
    pub(super) fn new(dir: PathBuf, output: PathBuf, programs: &'a Programs) -> Result<Self> {
        fs::create_dir_all(&output).with_context(|| format!("cannot create `{}`", output.display()))?;
        workspace::create(&dir)?;
        Ok(Self { dir, output, programs, calls: Cell::new(0) })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory of the instance `default`.
    pub(super) fn instance(&self) -> PathBuf {
        self.dir.join(".etcd/default")
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    pub(super) fn xtask(&self, args: &[&str]) -> Command {
        self.command(&self.programs.xtask, args)
    }

    /// `cargo xtask ARGS…` for commands that speak etcd's API: the program that xtask becomes.
    pub(super) fn console(&self, endpoint: &str, args: &[&str]) -> Command {
        let mut command =
            self.command(&self.programs.console, &["--root", workspace::ROOT, "--endpoints", endpoint, "--home"]);
        command.arg(self.dir.join(".etcd")).args(args);
        command
    }

    pub(super) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::null());
        workspace::enter(&mut command, &self.dir);
        for inherited in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
            command.envs(std::env::var_os(inherited).map(|value| (inherited, value)));
        }
        // No protoc is looked for.
        command.env("PROTOC", "/bin/true").env("ETCDBINPATH", &self.programs.etcd);
        command.env("ETCD_LOCAL_CACHE", self.path("cache"));
        command
    }

    pub(super) fn start(&self, command: Command) -> Result<RunningCall> {
        let number = self.calls.replace(self.calls.get() + 1);
        RunningCall::start(command, &self.output.join(format!("{number:04}")))
    }

    /// Runs `cargo xtask ARGS…`.
    pub(super) fn call(&self, args: &[&str]) -> Result<FinishedCall> {
        self.start(self.xtask(args))?.finish()
    }

    /// `etcd-up` must succeed, and there must be exactly the one server that it names, ready.
    pub(super) fn up(&self) -> Result<Status> {
        self.up_with(&[])
    }

    pub(super) fn up_with(&self, args: &[&str]) -> Result<Status> {
        let line: Vec<&str> = ["etcd-up", "--format", "json"].iter().chain(args).copied().collect();
        let status: Status = self.call(&line)?.ok()?.json()?;
        let servers = self.servers();
        ensure!(status.state == State::Ready, "`etcd-up` says {:?}", status.state);
        ensure!(servers == status.pids, "`etcd-up` says pids {:?}, there are {servers:?}", status.pids);
        ensure!(servers.len() == 1, "there are {} servers", servers.len());
        Ok(status)
    }

    /// `etcd-down` must succeed and leave no server.
    pub(super) fn down(&self) -> Result<()> {
        self.call(&["etcd-down"])?.ok()?;
        let servers = self.servers();
        ensure!(servers.is_empty(), "after `etcd-down` there are servers: {servers:?}");
        let status = self.status()?;
        ensure!(
            status.state == State::Stopped && status.pids.is_empty(),
            "after `etcd-down` it is {:?} with pids {:?}",
            status.state,
            status.pids
        );
        Ok(())
    }

    pub(super) fn status(&self) -> Result<Status> {
        self.call(&["etcd-status", "--format", "json"])?.ends_with(&[0, 3])?.json()
    }

    /// `etcd-status` must be true. A server that is starting or ending has a moment to do so.
    pub(super) fn check_status(&self) -> Result<()> {
        let mut difference = String::new();
        let truth = wait::poll(wait::TIMEOUT / 12, || {
            let (status, servers) = (self.status()?, self.servers());
            let is_true = match status.state {
                State::Stopped => servers.is_empty() && status.pids.is_empty(),
                State::Ready | State::Starting => servers == status.pids && servers.len() == 1,
                // No lock is deleted here, and all servers can be seen.
                State::NoQuorum | State::Hidden | State::Orphaned => false,
            };
            difference = format!("it is {:?} with pids {:?}, and there are {servers:?}", status.state, status.pids);
            Ok(is_true.then_some(()))
        })?;
        truth.context(difference)
    }

    /// The pids of its etcds.
    pub(super) fn servers(&self) -> Vec<u32> {
        processes::running(&self.dir, &self.programs.etcd)
    }

    /// Fails if there is no server.
    pub(super) fn signal_server(&self, signal: Signal) -> Result<()> {
        processes::signal_running(&self.dir, &self.programs.etcd, signal)
    }

    /// kill -9; no server is left.
    pub(super) fn kill_server(&self) -> Result<()> {
        self.signal_server(Signal::KILL)?;
        wait::until("a killed server is gone", wait::TIMEOUT, || Ok(self.servers().is_empty()))
    }
}
