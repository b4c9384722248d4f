//! `fill`, hidden: writes many keys, for the benches.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use etcd_keys::kv::{Put, Txn};

use crate::cli::Fill;
use crate::context::Context;

/// etcd's default limit of operations in a transaction (`--max-txn-ops`).
const BATCH: u64 = 128;
/// Concurrent transactions.
const WRITERS: u64 = 8;

pub(crate) async fn run(args: Fill, cx: &Context) -> Result<ExitCode> {
    let connection = cx.connect().await?;
    let next = Arc::new(AtomicU64::new(0));
    let value = "v".repeat(args.value_size);
    let writers = (0..WRITERS).map(|_| {
        let (connection, next, prefix, value) =
            (connection.clone(), Arc::clone(&next), args.prefix.clone(), value.clone());
        tokio::spawn(async move {
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= args.count {
                    return Ok::<(), etcd_keys::Error>(());
                }
                let keys = from..args.count.min(from.saturating_add(BATCH));
                let put = |number| Put::new(format!("{prefix}{number:010}"), value.as_str());
                connection.all_keys().send(keys.map(put).fold(Txn::new(), Txn::then)).await?;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(ExitCode::SUCCESS)
}
