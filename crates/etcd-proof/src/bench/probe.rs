//! `probe`, hidden: opens sandboxes as a process of tests does, and prints how long they took.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etcd_sandbox::Sandbox;
use etcd_sandbox::runs::{Plan, Registry, Roots, Run};
use etcd_xtask::{Exit, output};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::plain_etcd::disk_bytes;
use crate::cli::ProbeArgs;
use crate::workspace::ROOT;

/// How long the size of the server's data must stay the same, and how long that may take.
const QUIET: Duration = Duration::from_millis(500);
const SETTLES: Duration = Duration::from_secs(10);
/// How many tests fail, and how many pass beside them.
const FAILURES: usize = 11;
/// How many keys such a test writes in turn.
const KEYS: u64 = 10;
/// How many clients change keys at the same time.
const WRITERS: u64 = 64;
/// How often a run's keeper looks for changes elsewhere.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);

/// What the process measured.
#[derive(Serialize, Deserialize)]
pub(super) struct Probe {
    /// Of the process's first sandbox: it connects and registers the run.
    pub(super) first_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// How much longer the end of a test takes that fails.
    pub(super) failure_ms: Option<f64>,
    /// How long the last search for changes outside of a run takes.
    pub(super) search_ms: Option<f64>,
    /// How much more the server's data takes than before all but the first were opened.
    pub(super) disk_bytes: u64,
}

pub(crate) fn run(args: &ProbeArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    output::json(&runtime.block_on(probe(args))?)?;
    Ok(Exit::SUCCESS)
}

async fn probe(args: &ProbeArgs) -> Result<Probe> {
    let first_ms = open(0, args.write).await?;
    let data = args.data_dir.as_deref();
    let before = match data {
        Some(data) => Some(settled(data).await?),
        None => None,
    };
    let mut nanoseconds = Histogram::<u64>::new(3)?;
    for number in 1..args.sandboxes {
        nanoseconds.record((open(number, args.write).await? * 1e6) as u64)?;
    }
    let disk_bytes = grown(data, before)?;
    let failure_ms = match args.failing_changes {
        Some(changes) => Some(failure(changes).await?),
        None => None,
    };
    let search_ms = match args.searched_changes {
        Some(changes) => Some(search(changes).await?),
        None => None,
    };
    let quantile_ms = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Probe { first_ms, p50_ms: quantile_ms(0.5), p99_ms: quantile_ms(0.99), failure_ms, search_ms, disk_bytes })
}

/// Opens one, and writes a key if that is asked for. In milliseconds.
async fn open(number: u64, write: bool) -> Result<f64> {
    let began = Instant::now();
    let sandbox = Sandbox::open(&format!("bench::test_{number}")).await.context("no sandbox could be opened")?;
    if write {
        sandbox.put("a", "x").await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// How much longer the end of a test takes that fails: the median, in milliseconds.
async fn failure(changes: u64) -> Result<f64> {
    let mut more = Vec::new();
    for _ in 0..FAILURES {
        let passes = end(changes, false).await?;
        more.push(end(changes, true).await? - passes);
    }
    more.sort_by(f64::total_cmp);
    more.get(FAILURES / 2).copied().context("no test failed")
}

/// How long the end of a test takes.
async fn end(changes: u64, fails: bool) -> Result<f64> {
    let sandbox = Sandbox::open("bench::failure").await.context("no sandbox could be opened")?;
    for number in 0..changes {
        sandbox.put(format!("keys/{}", number % KEYS), format!("value {number}")).await?;
    }
    let began = Instant::now();
    // The sandbox is dropped while this unwinds, as by a panic, and prints what happened.
    let ending = catch_unwind(AssertUnwindSafe(|| {
        let _sandbox = sandbox;
        if fails {
            resume_unwind(Box::new(()));
        }
    }));
    drop(ending);
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// How long the last search for changes outside of a run takes that has made so many changes, in milliseconds.
async fn search(changes: u64) -> Result<f64> {
    let sandbox = Sandbox::open("bench::search").await.context("no sandbox could be opened")?;
    let connection = sandbox.connection().clone();
    let registry = Registry::new(&connection, Roots::new(ROOT, "Test", &[])?);
    let run = Run::start(&registry, Plan::new(std::env::temp_dir(), "bench")).await?;
    let (all, prefix) = (connection.all_keys(), run.prefix());
    let writers = (0..WRITERS).map(|writer| {
        let (all, prefix) = (all.clone(), prefix.clone());
        tokio::spawn(async move {
            for number in 0..changes / WRITERS {
                all.put(format!("{prefix}test~{writer}/{}", number % KEYS), format!("value {number}")).await?;
            }
            anyhow::Ok(())
        })
    });
    let mut search = run.search_escapes();
    for writer in writers.collect::<Vec<_>>() {
        while !writer.is_finished() {
            tokio::time::sleep(SEARCH_INTERVAL).await;
            search.look().await?;
        }
        writer.await??;
    }
    all.put(format!("{ROOT}/elsewhere"), "x").await?;
    let began = Instant::now();
    let found = search.look().await?.changes;
    let took = began.elapsed();
    anyhow::ensure!(found == 1, "{found} changes were found outside of the run, not one");
    run.sweep().await?;
    Ok(took.as_secs_f64() * 1e3)
}

/// The size of the server's data once it has written what came before: it writes to its database every 100 ms.
async fn settled(data: &Path) -> Result<u64> {
    let began = Instant::now();
    let mut size = disk_bytes(data)?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = disk_bytes(data)?;
        if now == size || began.elapsed() > SETTLES {
            return Ok(now);
        }
        size = now;
    }
}

fn grown(data: Option<&Path>, before: Option<u64>) -> Result<u64> {
    let (Some(data), Some(before)) = (data, before) else { return Ok(0) };
    Ok(disk_bytes(data)?.saturating_sub(before))
}
