//! The directory in which torture runs, with a guard, and in it one directory for each round. A round without violation
//! leaves no file and no process in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use etcd_keys::Connection;
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Settings};
use etcd_xtask::Context;
use tokio::runtime::Runtime;

use super::rng::Rng;
use super::workspace::{Programs, TortureWorkspace};
use super::{Outcome, Part, Tally, keyspace};
use crate::guard::ScratchDir;
use crate::{processes, wait};

pub(super) struct TestBed {
    scratch: ScratchDir,
    programs: Programs,
    runtime: Runtime,
    env: Env,
}

impl TestBed {
    pub(super) fn new(xtask: &Path, console: &Path, cx: &Context) -> Result<Self> {
        let builder = cx.builder()?;
        // As the system names the program of a process.
        let etcd = builder.binaries().find(&builder.settings().wanted)?.path.canonicalize()?;
        let proof = std::env::current_exe().context("cannot find this program's own file")?;
        // The programs are called from other directories.
        let absolute = |path: &Path| std::path::absolute(path).context("cannot find a program's directory");
        let programs = Programs { xtask: absolute(xtask)?, console: absolute(console)?, etcd, proof };
        let runtime = Runtime::new().context("cannot start threads")?;
        let scratch = ScratchDir::create("xtask-torture-", &cx.workspace)?;
        Ok(Self { scratch, programs, runtime, env: cx.env.clone() })
    }

    /// Runs one round in its own directory. A process that is left running there is a violation.
    pub(super) fn run_round(&self, part: &Part, number: u32, seed: u64, tally: &mut Tally) -> Result<Outcome> {
        let dir = self.scratch.path().join(format!("{}-{number:07}", part.name));
        fs::create_dir(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        let rng = Rng::of(seed, part.name, number);
        let mut round = Round { dir: dir.clone(), rng, tally, testbed: self };
        let outcome = (part.run)(&mut round)?;
        check_no_processes(&dir)?;
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
        Ok(outcome)
    }

    /// Keeps the directory of the round that failed. Its processes are killed all the same.
    pub(super) fn keep(&mut self) -> &Path {
        self.scratch.keep()
    }
}

/// No process belongs to `dir`, after a moment for those that are about to end.
pub(super) fn check_no_processes(dir: &Path) -> Result<()> {
    let gone = wait::poll(wait::TIMEOUT / 6, || Ok(processes::of(dir).is_empty().then_some(())))?;
    if gone.is_some() {
        return Ok(());
    }
    let left: Vec<_> = processes::of(dir).into_iter().map(|left| format!("{} {}", left.pid, left.line)).collect();
    bail!("processes are left running: {}", left.join("; "))
}

/// A server without fsync, and a workspace whose calls go to it.
pub(super) struct EphemeralServer<'a> {
    pub(super) workspace: TortureWorkspace<'a>,
    pub(super) endpoint: String,
    pub(super) connection: Connection,
    _etcd: Ephemeral,
}

/// One round of a part, which all its random choices come from.
pub(super) struct Round<'a> {
    pub(super) dir: PathBuf,
    pub(super) rng: Rng,
    pub(super) tally: &'a mut Tally,
    testbed: &'a TestBed,
}

impl<'a> Round<'a> {
    pub(super) fn programs(&self) -> &'a Programs {
        &self.testbed.programs
    }

    /// For asynchronous work.
    pub(super) fn runtime(&self) -> &'a Runtime {
        &self.testbed.runtime
    }

    /// A new workspace in the round's directory.
    pub(super) fn workspace(&self, name: &str) -> Result<TortureWorkspace<'a>> {
        // Outside of the workspace, whose disk may be full.
        let output = self.dir.join(format!("output-{}", name.replace('/', "-")));
        TortureWorkspace::new(self.dir.join(name), output, &self.testbed.programs)
    }

    fn builder(&self) -> Builder {
        let env = self.testbed.env.clone().with("TMPDIR", &self.dir).with_temp_dir(&self.dir);
        let wanted = Wanted::At(self.testbed.programs.etcd.clone());
        Builder::with_settings(env, &self.dir, Settings::default()).etcd(wanted)
    }

    /// A server and a workspace that end with the round.
    pub(super) fn ephemeral_server(&self) -> Result<EphemeralServer<'a>> {
        let etcd = self.builder().start_ephemeral()?;
        let endpoint = etcd.endpoints().concat();
        let connection = self.runtime().block_on(keyspace::connect(&endpoint))?;
        Ok(EphemeralServer { workspace: self.workspace("w")?, endpoint, connection, _etcd: etcd })
    }
}
