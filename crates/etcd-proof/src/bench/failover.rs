//! How long a program that uses our client with all members cannot write when the leader is killed. It sends a write every
//! few milliseconds: one that a member gets before it knows that the leader is lost is answered only after seconds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_local::Ephemeral;
use etcd_sandbox::etcd_keys::{Connect, Keys};
use tokio::task::JoinSet;

use super::report::Row;
use crate::wait;

/// How often the leader is killed.
const KILLS: u32 = 100;
const KILLS_QUICK: u32 = 3;
/// The time between two writes.
const NEXT: Duration = Duration::from_millis(10);

pub(super) fn measure(cluster: &Ephemeral, is_quick: bool) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let connect = Connect::new(cluster.endpoints()).runtime(runtime.handle().clone());
    let keys = runtime.block_on(connect.connect())?.all_keys();
    let mut took = Vec::new();
    for _ in 0..if is_quick { KILLS_QUICK } else { KILLS } {
        wait::check_interrupted()?;
        let leader = cluster.leader()?;
        // The connection is there, at whatever member.
        runtime.block_on(keys.get("/failover"))?;
        let began = Instant::now();
        leader.kill()?;
        runtime.block_on(next_write(&keys, began))?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        cluster.restart(leader)?;
    }
    took.sort_by(f64::total_cmp);
    let p99 = took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().context("no leader was killed")?;
    let what = "leader killed to the next write through our client";
    Ok(vec![Row::new(what, "ms", took)?, Row::new(format!("{what}, p99"), "ms", vec![p99])?.at_most(500.0)])
}

async fn next_write(keys: &Keys, began: Instant) -> Result<()> {
    let mut writes = JoinSet::new();
    loop {
        let keys = keys.clone();
        writes.spawn(async move { keys.put("/failover", "x").await });
        // A write that fails is no answer: the next one may succeed.
        let written = async {
            while let Some(written) = writes.join_next().await {
                if matches!(written, Ok(Ok(_))) {
                    return;
                }
            }
            std::future::pending().await
        };
        if tokio::time::timeout(NEXT, written).await.is_ok() {
            return Ok(());
        }
        wait::check_interrupted()?;
        ensure!(began.elapsed() < wait::TIMEOUT, "no write succeeds after the leader was killed");
    }
}
