//! `watch`: prints changes as they happen, one a line, for people or for programs. Lost changes are reported as gaps.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use etcd_keys::watch::Batch;
use etcd_keys::{Connection, KeyRange, kv};

use crate::changes::{Printer, Style};
use crate::cli::Watch;
use crate::context::Context;
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::nearby;

/// How long the server may be unreachable before a note says so. The watch waits for it anyway.
const NOTE_AFTER: Duration = Duration::from_secs(2);
/// The interval between attempts to reach the server.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: Watch, cx: &Context) -> Result<ExitCode> {
    let keys = args.keys.keys();
    let range = crate::keys::range_or_root(keys.as_ref(), cx)?;
    let connection = cx.connect().await?;
    let now = look(&connection, &range).await?;
    let past = args.rev.map_or(0, |_| now.revision);
    let missing = keys.filter(|_| now.count == 0);
    let mut first_note = Some(format!("watching {range} at {}", connection.endpoint()));
    let mut watch = connection.all_keys().watch(range.clone()).track().outage_timeout(NOTE_AFTER);
    if !args.keys_only {
        watch = watch.previous_values();
    }
    if let Some(revision) = args.rev {
        watch = watch.from_revision(revision);
    }
    let style = Style { format: args.format, keys_only: args.keys_only, hex: args.hex };
    let mut printer = Printer::new(style, cx.redaction()?, past);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut is_away = false;
    let mut interrupt = Interrupt::listen()?;
    while left > 0 {
        let batch = tokio::select! {
            biased;
            // With a count, the watch has not reached its end.
            () = interrupt.pressed() => std::process::exit(if args.count.is_some() { INTERRUPTED } else { 0 }),
            batch = watch.recv_batch() => batch,
            // If there are no changes, the watch does not notice that the server is back.
            () = answers(&connection, &range), if is_away => {
                is_back(&mut is_away, &connection, cx);
                continue;
            }
        };
        let batch = match batch {
            Err(error) if error.kind.is_transient() => {
                if !std::mem::replace(&mut is_away, true) {
                    cx.note(format_args!("{error}; waiting for it, and then reporting what was missed"));
                }
                continue;
            }
            batch => batch?,
        };
        is_back(&mut is_away, &connection, cx);
        if let Some(from) = first_revision(&batch)
            && let Some(watching) = first_note.take()
        {
            cx.note(format_args!("{watching}, from revision {from}"));
            if let Some(keys) = &missing {
                nearby::note("watch", keys, &connection, cx).await;
            }
        }
        left -= printer.batch(&batch, left)?;
        printer.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest revision, and the number of keys in the range.
async fn look(connection: &Connection, range: &KeyRange) -> Result<kv::GetResponse, etcd_keys::Error> {
    connection.all_keys().send(kv::Get::range(range.clone()).count_only()).await
}

/// Waits until the server answers again.
async fn answers(connection: &Connection, range: &KeyRange) {
    // Reads only one key, which is quick.
    let key = if range.start().is_empty() { vec![0] } else { range.start().to_vec() };
    while look(connection, &KeyRange::key(key.clone())).await.is_err() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn is_back(is_away: &mut bool, connection: &Connection, cx: &Context) {
    if std::mem::take(is_away) {
        cx.note(format_args!("etcd answers again at {}; the watch continues", connection.endpoint()));
    }
}

/// The first revision that the watch reports, from its first batch.
fn first_revision(batch: &Batch) -> Option<i64> {
    match batch {
        Batch::Listed { revision, .. } => Some(revision + 1),
        Batch::Gap { from, .. } => Some(*from),
        _ => None,
    }
}
