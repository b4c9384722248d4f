//! `history`: prints the changes that etcd still has, oldest first.

use std::process::ExitCode;

use anyhow::Result;
use etcd_console_cli::Revisions;
use etcd_keys::{Connection, Redaction};

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
        Some(run) => Some(beginning(run, &connection, cx).await?),
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

/// The revision at which a run began.
async fn beginning(run: &str, connection: &Connection, cx: &Context) -> Result<i64> {
    let found = cx.registry_of(connection)?.beginnings(run).await?;
    let mut runs = found.iter();
    let what = match (runs.next(), runs.next()) {
        (Some((_, revision)), None) => return Ok(*revision),
        (None, _) => {
            format!("etcd does not know when a run `{run}` began: there was none, or its history is compacted")
        }
        (Some(_), Some(_)) => format!("{} runs begin with `{run}`", found.len()),
    };
    let next = format!("give the whole id, as `test` printed it; `cargo xtask runs{}` lists the runs", cx.flags());
    Err(Failure { exit: Exit::Usage, what, next }.into())
}

fn note_compaction(first: &mut i64, known: i64, cx: &Context) {
    if known > *first {
        cx.note(format_args!("the changes of revisions {first} to {} are compacted away", known - 1));
        *first = known;
    }
}
