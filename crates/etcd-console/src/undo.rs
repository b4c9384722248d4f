//! `undo`: restores the keys of an undo file.

use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::text::Escaped;
use etcd_keys::undo::Restored;
use serde::Serialize;

use crate::cli::{Format, Undo};
use crate::confirm::{declined, refused};
use crate::context::Context;
use crate::output::{self, Base64, Progress, keys};
use crate::undo_files;

pub(crate) async fn run(args: Undo, cx: &Context) -> Result<ExitCode> {
    if args.list {
        return undo_files::list(args.format, cx);
    }
    let file = match args.file {
        Some(file) => file,
        None => match undo_files::choose_newest(args.yes, cx).await? {
            Some(file) => file,
            None => return Ok(declined("changed", cx)),
        },
    };
    let connection = cx.connect().await?;
    let mut restore = connection.restore(&file);
    if args.overwrite {
        restore = restore.overwrite();
    }
    if args.any_cluster {
        restore = restore.any_cluster();
    }
    let mut progress = Progress::new(cx.global.quiet);
    let done = restore
        .run(|so_far| progress.draw(|| format!("{} of {} restored", so_far.restored, keys(so_far.total))))
        .await?;
    progress.clear();
    if args.format == Format::Json {
        let conflicts = done.conflicts.iter().map(|conflict| Base64(&conflict.key)).collect();
        output::json(&Answer {
            keys: done.total,
            restored: done.restored,
            unchanged: done.unchanged,
            overwritten: done.overwritten,
            conflicting: done.conflicting,
            conflicts,
            without_lease: done.without_lease,
        })?;
        return outcome(&done);
    }
    let mut text = format!("restored {} of {}\n", keys(done.restored), done.total);
    let mut line = |count: u64, one: &str, more: &str| {
        if count > 0 {
            text.push_str(&format!("  {} {}\n", keys(count), if count == 1 { one } else { more }));
        }
    };
    line(done.unchanged, "existed with the same value", "existed with the same value");
    line(done.overwritten, "had changed and was overwritten", "had changed and were overwritten");
    line(done.without_lease, "had a lease and now has none", "had a lease and now have none");
    line(
        done.conflicting,
        "changed after the deletion and was left alone:",
        "changed after the deletion and were left alone:",
    );
    for conflict in &done.conflicts {
        text.push_str(&format!("    {}\n", Escaped(&conflict.key)));
    }
    cx.report(&text)?;
    outcome(&done)
}

/// Keys that were left alone make the command fail: they were not restored, and need --overwrite.
fn outcome(done: &Restored) -> Result<ExitCode> {
    if done.conflicting == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let what = format!("not all keys were restored: {} changed after the deletion", keys(done.conflicting));
    Err(refused(what, "`--overwrite` restores the old values of these keys"))
}

#[derive(Serialize)]
struct Answer<'a> {
    keys: u64,
    restored: u64,
    unchanged: u64,
    overwritten: u64,
    conflicting: u64,
    /// At most 1,000.
    conflicts: Vec<Base64<'a>>,
    without_lease: u64,
}
