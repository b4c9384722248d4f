//! What becomes of a command that fails when its hint is followed: something else than before.

use super::class::Class;
use super::rows::Row;
use super::world::World;
use crate::playground::Run;

/// Of the commands of ours that hints name, the first: the others are alternatives, or come after it. Not one in which
/// something is left to be filled in.
pub(super) fn first(run: &Run) -> Option<Vec<String>> {
    let hints = run.stderr.lines().filter_map(|line| line.strip_prefix("hint: "));
    let quoted = hints.flat_map(|hint| hint.split('`').skip(1).step_by(2));
    let mut lines = quoted.filter_map(|text| text.strip_prefix("cargo xtask "));
    // To wait longer is for who knows why.
    let is_whole = |line: &str| !line.contains(|c: char| c.is_uppercase() || c == '…') && !line.contains("--timeout");
    let line = lines.find(|line| is_whole(line))?;
    Some(line.split(' ').map(str::to_owned).collect())
}

/// Runs a command that fails, its hint, and the hints of that, and then the command again; what is wrong with that.
pub(super) fn follow(world: &World, row: &Row, hint: &[String]) -> (Run, Option<String>) {
    let fails = world.xtask(&world.line(row));
    let mut hints = vec![hint.to_vec()];
    let mut followed = world.xtask(hint);
    while let Some(next) = first(&followed).filter(|next| !hints.contains(next) && followed.code != Some(0)) {
        followed = world.xtask(&next);
        hints.push(next);
    }
    let shows = |run: &Run| match hints.last().map(|hint| hint[0].as_str()) {
        // Who is sent to look should see something.
        Some("doctor") => Some(run.code != Some(0) || run.stdout.contains("\nwarning")),
        Some("etcd-status" | "etcd-logs") => Some(run.code != Some(1)),
        _ => None,
    };
    let before = Class::of(row, &fails);
    let helps = shows(&followed).unwrap_or_else(|| match followed.code {
        Some(0) => {
            // Each was a way to make the one before it succeed.
            hints.iter().rev().skip(1).for_each(|hint| drop(world.xtask(hint)));
            let again = world.xtask(&world.line(row));
            (again.code, Class::of(row, &again)) != (fails.code, before)
        }
        // It says why, which the command did not know.
        _ => ![Class::Unknown, before].contains(&Class::of(row, &followed)),
    });
    let chain: Vec<String> = hints.iter().map(|hint| hint.join(" ")).collect();
    (followed, (!helps).then(|| format!("`{}` does not help", chain.join("`, then `"))))
}
