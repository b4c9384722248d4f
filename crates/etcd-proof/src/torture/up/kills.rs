//! A command is killed with kill -9 at a random moment. The next command sees the true state, and nothing is left over.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::kill_time::KillTime;
use super::record;
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};

#[derive(Clone, Copy, PartialEq, Eq)]
enum KilledCommand {
    Up,
    Down,
    Reset,
    Install,
}

/// The instance before the kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Stopped,
    Running,
    /// Its server was killed.
    Crashed,
}

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let workspace = round.workspace("w")?;
    match round.rng.choose([
        KilledCommand::Up,
        KilledCommand::Up,
        KilledCommand::Down,
        KilledCommand::Reset,
        KilledCommand::Reset,
        KilledCommand::Install,
    ]) {
        KilledCommand::Install => install(round, &workspace)?,
        command => server(round, &workspace, command)?,
    }
    Ok(Outcome::Completed)
}

fn server(round: &mut Round<'_>, workspace: &TortureWorkspace<'_>, command: KilledCommand) -> Result<()> {
    let before = match command {
        KilledCommand::Up => round.rng.choose([Before::Nothing, Before::Stopped, Before::Running, Before::Crashed]),
        _ => round.rng.choose([Before::Running, Before::Running, Before::Stopped, Before::Crashed]),
    };
    // About how many milliseconds each takes, and how many changes on disk it makes.
    let (args, longest, changes): (&[&str], u64, u64) = match command {
        KilledCommand::Down => (&["etcd-down"], 12, 4),
        KilledCommand::Reset => (&["etcd-reset", "--yes"], 60, 10),
        _ => (&["etcd-up"], 45, 8),
    };
    let dirs = [workspace.instance(), workspace.instance().join("data")];
    for sooner in [1, 2, 4, 8] {
        prepare(before, workspace)?;
        let time = KillTime::choose(&mut round.rng, longest / sooner, changes.div_ceil(sooner));
        if kill(round, workspace, args, &dirs, time)? {
            break;
        }
    }

    let next: &[&str] =
        round.rng.choose([&["etcd-status"], &["etcd-up"], &["etcd-down"], &["etcd-reset", "--yes"]] as [&[&str]; 4]);
    workspace.call(next)?.ends_with(if next == ["etcd-status"] { &[0, 3] } else { &[0] })?;
    workspace.check_status()?;
    let up = workspace.up()?;
    let wiped = command == KilledCommand::Reset || next.first() == Some(&"etcd-reset");
    let key = record::get(&up)?;
    ensure!(before == Before::Nothing || wiped || key.as_deref() == Some("v"), "the key is gone: {key:?}");
    ensure!(key.is_none() || key.as_deref() == Some("v"), "the key has another value: {key:?}");
    record::put(&up, "w2")?;
    workspace.down()?;
    check_locks(&workspace.instance())?;
    check_no_scratch_files(&workspace.instance())
}

fn prepare(before: Before, workspace: &TortureWorkspace<'_>) -> Result<()> {
    if before == Before::Nothing {
        // Or what the last attempt made.
        return workspace.call(&["etcd-down"])?.ok().map(drop);
    }
    record::put(&workspace.up()?, "v")?;
    match before {
        Before::Stopped => workspace.down()?,
        Before::Crashed => workspace.kill_server()?,
        Before::Nothing | Before::Running => {}
    }
    Ok(())
}

/// `true`: the command was still running.
fn kill(
    round: &mut Round<'_>,
    workspace: &TortureWorkspace<'_>,
    args: &[&str],
    dirs: &[PathBuf],
    time: KillTime,
) -> Result<bool> {
    let mut call = workspace.start(workspace.xtask(args))?;
    time.wait(&mut call, dirs)?;
    let was_running = call.kill()?;
    round.tally.add(if was_running { "kills" } else { "kills that came too late" }, 1);
    Ok(was_running)
}

fn install(round: &mut Round<'_>, workspace: &TortureWorkspace<'_>) -> Result<()> {
    let args = ["etcd-install", "3.7.2", "--from", "registry"];
    let cache = workspace.path("cache");
    let dirs = [cache.clone(), cache.join("etcd"), cache.join(".scratch")];
    let time = KillTime::choose(&mut round.rng, 400, 6);
    kill(round, workspace, &args, &dirs, time)?;
    workspace.call(&args)?.ok()?;
    let list = workspace.call(&["etcd-install", "--list"])?.ok()?;
    ensure!(list.stdout.contains("3.7.2"), "what was installed is not listed: {}", list.stdout);
    let left: Vec<_> = fs::read_dir(cache.join(".scratch"))?.flatten().map(|entry| entry.path()).collect();
    ensure!(left.is_empty(), "an installation left {left:?}");
    Ok(())
}

fn check_locks(instance: &Path) -> Result<()> {
    for name in ["op.lock", "member.lock"] {
        let path = instance.join(name);
        let lock = File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        lock.try_lock().with_context(|| format!("`{}` is held, and no process of ours is left", path.display()))?;
    }
    Ok(())
}

/// Wiped data and unfinished files are gone by now.
fn check_no_scratch_files(instance: &Path) -> Result<()> {
    let mut left = scratch_in(instance)?;
    left.extend(scratch_in(&instance.join("data"))?);
    ensure!(left.is_empty(), "left over: {left:?}");
    Ok(())
}

fn scratch_in(dir: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(dir).with_context(|| format!("cannot list `{}`", dir.display()))?;
    let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(".etcd-local-tmp-") || name.contains(".wiped-")).collect())
}
