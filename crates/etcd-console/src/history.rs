//! `history`: prints the changes that etcd still has, oldest first.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use etcd_console_cli::Revisions;
use etcd_keys::{Connection, Redaction};
use etcd_sandbox::runs::RunId;

use crate::changes::{Printer, Style};
use crate::cli::History;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::nearby;

pub(crate) async fn run(args: History, cx: &Context) -> Result<ExitCode> {
    let keys = args.keys.keys();
    let range = crate::keys::range_or_root(keys.as_ref(), cx)?;
    let connection = cx.connect().await?;
    let mut history = connection.all_keys().history(range).redact(cx.redaction()?);
    let since = match &args.since {
        Some(since) => Some(beginning(since, &connection, cx).await?),
        None => None,
    };
    let revisions = args.rev.or(since.map(|first| Revisions { first, last: i64::MAX }));
    if let Some(revisions) = revisions {
        history = history.from_revision(revisions.first).until_revision(revisions.last);
    }
    let style = Style { format: args.format, keys_only: args.keys_only, hex: args.hex };
    // The history hides what is not to be shown.
    let mut printer = Printer::new(style, Redaction::default(), i64::MAX);
    let (mut changes, mut first) = (0_u64, revisions.map_or(1, |revisions| revisions.first));
    while let Some(event) = history.try_next().await? {
        note_compaction(&mut first, history.first_revision(), cx);
        printer.past(&event)?;
        changes += 1;
    }
    note_compaction(&mut first, history.first_revision(), cx);
    printer.flush()?;
    if changes == 0 {
        cx.note(format_args!("no changes up to revision {}", history.last_revision()));
        if let Some(keys) = &keys {
            nearby::note("history", keys, &connection, cx).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The revision from which `--since` shows changes: where that run began or, for a time, where the last run before it began.
async fn beginning(since: &str, connection: &Connection, cx: &Context) -> Result<i64> {
    let registry = cx.registry_of(connection)?;
    if let Ok(ago) = humantime::parse_duration(since) {
        return Ok(last_run_before(ago, registry.beginnings("").await?, cx));
    }
    let found = registry.beginnings(since).await?;
    let mut runs = found.iter();
    let what = match (runs.next(), runs.next()) {
        (Some((_, revision)), None) => return Ok(*revision),
        (None, _) => {
            format!("etcd does not know when a run `{since}` began: there was none, or its history is compacted")
        }
        (Some(_), Some(_)) => format!("{} runs begin with `{since}`", found.len()),
    };
    let next = format!(
        "give the whole id, as `test` printed it, or a time, like 10m; `cargo xtask runs{}` lists the runs",
        cx.flags()
    );
    Err(Failure { exit: Exit::Usage, what, next }.into())
}

/// The revision of the last run that began at least `ago` before now. etcd stores no times, so the times in the run ids are
/// used. If an id after a more recent id has an earlier time, the clock of its host was wrong, and the id is not used.
fn last_run_before(ago: Duration, runs: BTreeMap<RunId, i64>, cx: &Context) -> i64 {
    let time = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let mut runs: Vec<(RunId, i64)> = runs.into_iter().collect();
    runs.sort_by_key(|(_, revision)| *revision);
    let ago = humantime::format_duration(ago);
    match runs.iter().take_while(|(run, _)| run.is_before(time)).last() {
        Some((run, revision)) => {
            cx.note(format_args!(
                "etcd stores no times: these are the changes since run {run}, the last that began more than {ago} ago"
            ));
            *revision
        }
        None => {
            cx.note(format_args!(
                "etcd stores no times, and knows no test run that began more than {ago} ago: these are all its changes"
            ));
            1
        }
    }
}

fn note_compaction(first: &mut i64, known: i64, cx: &Context) {
    if known > *first {
        cx.note(format_args!("the changes of revisions {first} to {} are compacted away", known - 1));
        *first = known;
    }
}
