//! `compact`: frees space in the databases of an instance's members, for `etcd-compact`, which knows the members.

use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::{Compacted, DatabaseSize, Error, ErrorKind, Operation};
use etcd_workspace::ClientConfig;
use serde::Serialize;

use crate::cli::{Compact, Format};
use crate::context::{Context, of_instance};
use crate::failure::{Exit, Failure};
use crate::output;

/// What was freed in all members, as a program reads it.
#[derive(Serialize)]
struct Answer {
    revision: i64,
    before: DatabaseSize,
    after: DatabaseSize,
    disarmed: bool,
}

pub(crate) async fn run(args: Compact, cx: &Context) -> Result<ExitCode> {
    let mut compacted = Vec::new();
    for endpoint in args.members {
        let mut config = ClientConfig { endpoints: vec![endpoint], ..ClientConfig::default() };
        let connection = cx.connect_to_instance(cx.instance(), &mut config).await?;
        let one = connection.compact_database().await.map_err(|error| explained(error, cx))?;
        if one.is_still_full {
            return Err(still_full(one.after, cx));
        }
        compacted.push(one);
    }
    let answer = Answer {
        revision: compacted.iter().map(|one| one.revision).max().unwrap_or_default(),
        before: sum(compacted.iter().map(|one| one.before)),
        after: sum(compacted.iter().map(|one| one.after)),
        disarmed: compacted.iter().any(|one: &Compacted| one.disarmed),
    };
    match args.format {
        Format::Json => output::json(&answer)?,
        Format::Text => cx.report(&text(&answer, cx.instance()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Of all members; each has the same quota.
fn sum(sizes: impl Iterator<Item = DatabaseSize>) -> DatabaseSize {
    let none = DatabaseSize { total: 0, in_use: 0, quota: None };
    sizes.fold(none, |sum, one| DatabaseSize {
        total: sum.total + one.total,
        in_use: sum.in_use + one.in_use,
        quota: one.quota,
    })
}

fn text(Answer { revision, before, after, disarmed }: &Answer, instance: &str) -> String {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let (freed, now) = (megabytes(before.total.saturating_sub(after.total)), megabytes(after.total));
    let alarm = if *disarmed { "; writes are possible again (alarm NOSPACE is off)" } else { "" };
    format!("compacted etcd `{instance}` at revision {revision}: {freed} freed, {now} left{alarm}\n")
}

fn still_full(size: DatabaseSize, cx: &Context) -> anyhow::Error {
    let what = format!(
        "the keys themselves take {} of the quota of {} bytes: the alarm NOSPACE stays on",
        size.total,
        size.quota.unwrap_or_default()
    );
    let [del, reset] = ["del", "etcd-reset"].map(|command| of_instance(command, cx.instance()));
    let next = format!("delete keys first: `{del}`, `cargo xtask test-clean`, or `{reset}`");
    Failure { exit: Exit::Failure, what, next }.into()
}

/// etcd writes the smaller database beside the larger one.
fn explained(error: Error, cx: &Context) -> anyhow::Error {
    let (Operation::Maintain("defragment"), ErrorKind::Etcd { .. }) = (&error.operation, &error.kind) else {
        return error.into();
    };
    let [down, up] = ["etcd-down", "etcd-up"].map(|command| of_instance(command, cx.instance()));
    let next = format!(
        "the server needs its data directory, with room for a copy of the database; after `{down}` and `{up}` it has the \
         directory where it is now"
    );
    Failure { exit: Exit::Failure, what: error.to_string(), next }.into()
}
