//! A workspace to torture: private directories, a scrubbed environment, free ports. Its calls are those that a user
//! makes.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use etcd_local::{State, Status};
use rustix::process::Signal;

use super::arena::Programs;
use super::calls::{Call, Pending, silent};
use crate::{processes, wait};

pub(super) struct Workspace<'a> {
    pub(super) dir: PathBuf,
    /// Where the output of its calls goes.
    said: PathBuf,
    programs: &'a Programs,
    calls: Cell<u32>,
}

impl<'a> Workspace<'a> {
    pub(super) fn new(dir: PathBuf, said: PathBuf, programs: &'a Programs) -> Result<Self> {
        for sub in [&dir.join("tmp"), &said] {
            fs::create_dir_all(sub).with_context(|| format!("cannot create `{}`", sub.display()))?;
        }
        fs::write(dir.join("Cargo.toml"), "[workspace]\n\n[workspace.metadata.etcd]\nport = \"auto\"\n")?;
        Ok(Self { dir, said, programs, calls: Cell::new(0) })
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
        self.scrubbed(&self.programs.xtask, args)
    }

    /// `cargo xtask ARGS…` for commands that speak etcd's API: the program that xtask becomes.
    pub(super) fn console(&self, endpoint: &str, args: &[&str]) -> Command {
        let mut command = self.scrubbed(&self.programs.console, &["--endpoints", endpoint, "--home"]);
        command.arg(self.dir.join(".etcd")).args(args);
        command
    }

    pub(super) fn scrubbed(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.dir).env_clear().env("CARGO_MANIFEST_DIR", &self.dir);
        for inherited in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
            command.envs(std::env::var_os(inherited).map(|value| (inherited, value)));
        }
        // A protoc that is there: none is looked for.
        command.env("TMPDIR", self.path("tmp")).env("PROTOC", "/bin/true").env("ETCDBINPATH", &self.programs.etcd);
        command.env("ETCD_LOCAL_CACHE", self.path("cache"));
        silent(&mut command);
        command
    }

    pub(super) fn start(&self, command: Command) -> Result<Pending> {
        let number = self.calls.replace(self.calls.get() + 1);
        Pending::start(command, &self.said.join(format!("{number:04}")))
    }

    /// `cargo xtask ARGS…`, to its end.
    pub(super) fn call(&self, args: &[&str]) -> Result<Call> {
        self.start(self.xtask(args))?.finish()
    }

    /// `etcd-up` must succeed, and does what it says: one server, ready, and the one that is named.
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

    /// `etcd-down` must succeed and leave nobody.
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

    /// What is said is what is: whoever is on its way up or down has a moment to arrive.
    pub(super) fn check_truth(&self) -> Result<()> {
        let mut untrue = String::new();
        let truth = wait::look(wait::PATIENCE / 12, || {
            let (status, servers) = (self.status()?, self.servers());
            let is_true = match status.state {
                State::Stopped => servers.is_empty() && status.pids.is_empty(),
                State::Ready | State::Starting => servers == status.pids && servers.len() == 1,
                // Nobody here deletes locks, and all servers can be seen.
                State::Hidden | State::Orphaned => false,
            };
            untrue = format!("it is {:?} with pids {:?}, and there are {servers:?}", status.state, status.pids);
            Ok(is_true.then_some(()))
        })?;
        truth.context(untrue)
    }

    /// The pids of its etcds.
    pub(super) fn servers(&self) -> Vec<u32> {
        processes::running(&self.dir, &self.programs.etcd)
    }

    /// There must be one.
    pub(super) fn signal_server(&self, signal: Signal) -> Result<()> {
        let servers = self.servers();
        ensure!(!servers.is_empty(), "there is no server that could be signalled");
        servers.into_iter().try_for_each(|pid| Ok(processes::signal(pid, &self.dir, signal)?))
    }

    /// kill -9, and nobody is left.
    pub(super) fn kill_server(&self) -> Result<()> {
        self.signal_server(Signal::KILL)?;
        wait::until("a killed server is gone", wait::PATIENCE, || Ok(self.servers().is_empty()))
    }
}
