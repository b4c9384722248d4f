//! Where tortures happen: a directory with a guard, and in it one for each round. A round that went well leaves nothing
//! in it, and nobody who belongs to it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context as _, Result, bail};
use etcd_keys::Connection;
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Env, Ephemeral, Settings};
use etcd_xtask::{Context, on_demand};
use tokio::runtime::Runtime;

use super::dice::Dice;
use super::workspace::Workspace;
use super::{Part, Played, Tally, keyspace};
use crate::{guard, processes, wait};

/// The programs under torture, and what they run.
pub(super) struct Programs {
    pub(super) xtask: PathBuf,
    pub(super) console: PathBuf,
    pub(super) etcd: PathBuf,
    /// This one.
    pub(super) proof: PathBuf,
}

pub(super) struct Arena {
    dir: PathBuf,
    guard: Child,
    programs: Programs,
    runtime: Runtime,
    env: Env,
}

impl Arena {
    pub(super) fn new(xtask: &Path, console: Option<&Path>, cx: &Context) -> Result<Self> {
        let console = match console {
            Some(console) => console.to_owned(),
            None => on_demand::program("etcd-console", cx)?,
        };
        let builder = cx.builder()?;
        // As the system names the program of a process.
        let etcd = builder.binaries().find(&builder.settings().wanted)?.path.canonicalize()?;
        let proof = std::env::current_exe().context("cannot find this program's own file")?;
        // They are called from other directories.
        let absolute = |path: &Path| std::path::absolute(path).context("cannot tell where a program is");
        let programs = Programs { xtask: absolute(xtask)?, console: absolute(&console)?, etcd, proof };
        let runtime = Runtime::new().context("cannot start threads")?;
        let dir = tempfile::Builder::new().prefix("xtask-torture-").tempdir()?.keep();
        let guard = guard::start(&dir, &cx.workspace)?;
        Ok(Self { dir, guard, programs, runtime, env: cx.env.clone() })
    }

    /// Plays one round, in a directory of its own. Whoever is left running in it is a violation.
    pub(super) fn play(&self, part: &Part, number: u32, seed: u64, tally: &mut Tally) -> Result<Played> {
        let dir = self.dir.join(format!("{}-{number:07}", part.name));
        fs::create_dir(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        let dice = Dice::of(seed, part.name, number);
        let mut round = Round { dir: dir.clone(), dice, tally, arena: self };
        let played = (part.play)(&mut round)?;
        nobody_in(&dir)?;
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))?;
        Ok(played)
    }

    /// Leaves the directory of the round that failed; tells where it is. Processes go all the same.
    pub(super) fn keep(&mut self) -> &Path {
        if let Some(stdin) = &mut self.guard.stdin {
            drop(stdin.write_all(guard::KEEP));
        }
        &self.dir
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        guard::dismiss(&mut self.guard);
    }
}

/// Waits a moment for those who are about to end.
pub(super) fn nobody_in(dir: &Path) -> Result<()> {
    let gone = wait::look(wait::PATIENCE / 6, || Ok(processes::of(dir).is_empty().then_some(())))?;
    if gone.is_some() {
        return Ok(());
    }
    let left: Vec<_> = processes::of(dir).into_iter().map(|left| format!("{} {}", left.pid, left.line)).collect();
    bail!("processes are left running: {}", left.join("; "))
}

/// A workspace whose calls are of one server.
pub(super) struct Ground<'a> {
    pub(super) workspace: Workspace<'a>,
    pub(super) endpoint: String,
    pub(super) connection: Connection,
    _etcd: Ephemeral,
}

/// One round of a part.
pub(super) struct Round<'a> {
    pub(super) dir: PathBuf,
    pub(super) dice: Dice,
    pub(super) tally: &'a mut Tally,
    arena: &'a Arena,
}

impl<'a> Round<'a> {
    pub(super) fn programs(&self) -> &'a Programs {
        &self.arena.programs
    }

    /// Where asynchronous work is done.
    pub(super) fn runtime(&self) -> &'a Runtime {
        &self.arena.runtime
    }

    /// A workspace of its own in the round's directory.
    pub(super) fn workspace(&self, name: &str) -> Result<Workspace<'a>> {
        // Beside it: there is room also where its own disk is full.
        let said = self.dir.join(format!("said-{}", name.replace('/', "-")));
        Workspace::new(self.dir.join(name), said, &self.arena.programs)
    }

    /// A workspace, and a server without fsync that goes with the round.
    pub(super) fn ground(&self) -> Result<Ground<'a>> {
        let env = self.arena.env.clone().with("TMPDIR", &self.dir).with_temp_dir(&self.dir);
        let wanted = Wanted::At(self.arena.programs.etcd.clone());
        let etcd = Builder::with_settings(env, &self.dir, Settings::default()).etcd(wanted).start_ephemeral()?;
        let endpoint = etcd.endpoints().concat();
        let connection = self.runtime().block_on(keyspace::connect(&endpoint))?;
        Ok(Ground { workspace: self.workspace("w")?, endpoint, connection, _etcd: etcd })
    }
}
