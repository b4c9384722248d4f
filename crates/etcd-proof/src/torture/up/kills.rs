//! A command is killed with kill -9 at some moment. Whatever comes next finds the truth, and nothing is left over.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::record;
use super::strike::Strike;
use crate::torture::workspace::Workspace;
use crate::torture::{Played, Round};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Up,
    Down,
    Reset,
    Install,
}

/// What there is before the kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Stopped,
    Running,
    /// Its server was killed.
    Crashed,
}

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let workspace = round.workspace("w")?;
    match round.dice.pick([Victim::Up, Victim::Up, Victim::Down, Victim::Reset, Victim::Reset, Victim::Install]) {
        Victim::Install => install(round, &workspace)?,
        victim => server(round, &workspace, victim)?,
    }
    Ok(Played::Through)
}

fn server(round: &mut Round<'_>, workspace: &Workspace<'_>, victim: Victim) -> Result<()> {
    let before = match victim {
        Victim::Up => round.dice.pick([Before::Nothing, Before::Stopped, Before::Running, Before::Crashed]),
        _ => round.dice.pick([Before::Running, Before::Running, Before::Stopped, Before::Crashed]),
    };
    // Of each, about how many milliseconds it takes, and how many changes on disk.
    let (args, longest, changes): (&[&str], u64, u64) = match victim {
        Victim::Down => (&["etcd-down"], 12, 4),
        Victim::Reset => (&["etcd-reset", "--yes"], 60, 10),
        _ => (&["etcd-up"], 45, 8),
    };
    let dirs = [workspace.instance(), workspace.instance().join("data")];
    for sooner in [1, 2, 4, 8] {
        prepare(before, workspace)?;
        let strike = Strike::draw(&mut round.dice, longest / sooner, changes.div_ceil(sooner));
        if kill(round, workspace, args, &dirs, strike)? {
            break;
        }
    }

    let next: &[&str] =
        round.dice.pick([&["etcd-status"], &["etcd-up"], &["etcd-down"], &["etcd-reset", "--yes"]] as [&[&str]; 4]);
    workspace.call(next)?.ends_with(if next == ["etcd-status"] { &[0, 3] } else { &[0] })?;
    workspace.check_truth()?;
    let up = workspace.up()?;
    let wiped = victim == Victim::Reset || next.first() == Some(&"etcd-reset");
    let key = record::get(&up)?;
    ensure!(before == Before::Nothing || wiped || key.as_deref() == Some("dg=="), "the key is gone: {key:?}");
    ensure!(key.is_none() || key.as_deref() == Some("dg=="), "the key has another value: {key:?}");
    record::put(&up, "dzI=")?;
    workspace.down()?;
    locks_are_free(&workspace.instance())?;
    nothing_scratched(&workspace.instance())
}

fn prepare(before: Before, workspace: &Workspace<'_>) -> Result<()> {
    if before == Before::Nothing {
        // Or what the last attempt made.
        return workspace.call(&["etcd-down"])?.ok().map(drop);
    }
    record::put(&workspace.up()?, "dg==")?;
    match before {
        Before::Stopped => workspace.down()?,
        Before::Crashed => workspace.kill_server()?,
        Before::Nothing | Before::Running => {}
    }
    Ok(())
}

/// Tells whether it was still running.
fn kill(
    round: &mut Round<'_>,
    workspace: &Workspace<'_>,
    args: &[&str],
    dirs: &[PathBuf],
    strike: Strike,
) -> Result<bool> {
    let mut call = workspace.start(workspace.xtask(args))?;
    strike.wait(&mut call, dirs)?;
    let struck = call.kill()?;
    round.tally.add(if struck { "kills" } else { "kills that came too late" }, 1);
    Ok(struck)
}

fn install(round: &mut Round<'_>, workspace: &Workspace<'_>) -> Result<()> {
    let args = ["etcd-install", "3.7.2", "--from", "registry"];
    let cache = workspace.path("cache");
    let dirs = [cache.clone(), cache.join("etcd"), cache.join(".scratch")];
    let strike = Strike::draw(&mut round.dice, 400, 6);
    kill(round, workspace, &args, &dirs, strike)?;
    workspace.call(&args)?.ok()?;
    let list = workspace.call(&["etcd-install", "--list"])?.ok()?;
    ensure!(list.stdout.contains("3.7.2"), "what was installed is not listed: {}", list.stdout);
    let left: Vec<_> = fs::read_dir(cache.join(".scratch"))?.flatten().map(|entry| entry.path()).collect();
    ensure!(left.is_empty(), "an installation left {left:?}");
    Ok(())
}

fn locks_are_free(instance: &Path) -> Result<()> {
    for name in ["op.lock", "member.lock"] {
        let path = instance.join(name);
        let lock = File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        lock.try_lock().with_context(|| format!("`{}` is held by nobody who could be seen", path.display()))?;
    }
    Ok(())
}

/// Data that was wiped is gone by now, and files that were never finished are, too.
fn nothing_scratched(instance: &Path) -> Result<()> {
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
