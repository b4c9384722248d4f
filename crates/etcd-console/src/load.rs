//! `load`, hidden: writes one key again and again, and prints the latencies. For the benches.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use crate::cli::Load;
use crate::context::Context;
use crate::output;

/// The time between two writes: often, but too slow to load the server.
const PAUSE: Duration = Duration::from_millis(2);

/// Latencies in milliseconds.
#[derive(Serialize)]
struct Answer {
    writes: usize,
    p50: f64,
    p99: f64,
    worst: f64,
}

pub(crate) async fn run(args: Load, cx: &Context) -> Result<ExitCode> {
    let connection = cx.connect().await?;
    let ended = tokio::spawn(async { tokio::io::stdin().read(&mut [0]).await.is_ok() });
    let keys = connection.all_keys();
    let mut took = Vec::new();
    let mut interval = tokio::time::interval(PAUSE);
    while !ended.is_finished() {
        interval.tick().await;
        let began = Instant::now();
        keys.put(args.key.as_str(), "x").await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took.get(((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1))).copied();
    let of = |part| at(part).unwrap_or_default();
    output::json(&Answer { writes: took.len(), p50: of(0.5), p99: of(0.99), worst: of(1.0) })?;
    // Tokio's reader of stdin would wait for one more line.
    std::process::exit(0)
}
