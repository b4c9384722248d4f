//! `history`: prints the changes that etcd still has, oldest first.

use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::{KeyRange, Redaction};

use crate::changes::{Printer, Style};
use crate::cli::{History, Keys};
use crate::context::Context;
use crate::nearby;

pub(crate) async fn run(args: History, cx: &Context) -> Result<ExitCode> {
    let (key, range_end) = (args.key.clone(), args.range_end.clone());
    let keys = key.map(|key| Keys { key, range_end, prefix: args.prefix, from_key: false });
    let range = match &keys {
        Some(keys) => crate::keys::range(keys)?,
        None => KeyRange::prefix(format!("{}/", cx.root()?)),
    };
    let connection = cx.connect().await?;
    let mut history = connection.all_keys().history(range).redact(cx.redaction()?);
    if let Some(revisions) = args.rev {
        history = history.from_revision(revisions.first).until_revision(revisions.last);
    }
    let style = Style { format: args.format, keys_only: args.keys_only, hex: args.hex };
    // The history hides what is not to be shown.
    let mut printer = Printer::new(style, Redaction::default(), i64::MAX);
    let (mut changes, mut first) = (0_u64, args.rev.map_or(1, |revisions| revisions.first));
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

fn note_compaction(first: &mut i64, known: i64, cx: &Context) {
    if known > *first {
        cx.note(format_args!("the changes of revisions {first} to {} are compacted away", known - 1));
        *first = known;
    }
}
