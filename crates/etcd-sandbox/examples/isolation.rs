//! How long opening a sandbox takes in a process that has its connection, for 1 to 1,000 tests at a time; one JSON
//! line each. `ETCD_ENDPOINTS` says where. For `cargo xtask bench isolation`.

use std::time::{Duration, Instant};

use etcd_sandbox::{Error, Sandbox};
use serde_json::json;

/// So many sandboxes are opened for each figure, at least.
const SAMPLES: usize = 10_000;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Error> {
    let began = Instant::now();
    let first = Sandbox::open("first").await?;
    println!("{}", json!({ "first_us": micros(began.elapsed()) }));
    for tests in [1, 10, 100, 1_000] {
        let mut opened = Vec::with_capacity(SAMPLES);
        let mut used = Vec::new();
        while opened.len() < SAMPLES {
            let mut crowd = tokio::task::JoinSet::new();
            for _ in 0..tests {
                crowd.spawn(open_and_use(opened.is_empty()));
            }
            for times in crowd.join_all().await {
                let (open, first_key) = times?;
                opened.push(open);
                used.extend(first_key);
            }
        }
        let (p50, p99, max) = percentiles(&mut opened);
        let first_key = percentiles(&mut used).0;
        println!(
            "{}",
            json!({ "tests": tests, "p50_us": p50, "p99_us": p99, "max_us": max, "first_key_p50_us": first_key })
        );
    }
    // The process's own run has had all of it.
    drop(first);
    Ok(())
}

/// How long opening took and, if it is used, the first key.
async fn open_and_use(used: bool) -> Result<(Duration, Option<Duration>), Error> {
    let began = Instant::now();
    let sandbox = Sandbox::open("isolation::a_test").await?;
    let open = began.elapsed();
    if !used {
        return Ok((open, None));
    }
    sandbox.put("key", "value").await?;
    Ok((open, Some(began.elapsed())))
}

/// The middle one, the one that 99 of 100 are below, and the longest, in µs.
fn percentiles(times: &mut [Duration]) -> (f64, f64, f64) {
    times.sort();
    let at = |part: usize| times.get(part.min(times.len().saturating_sub(1))).copied().map_or(0.0, micros);
    (at(times.len() / 2), at(times.len() * 99 / 100), at(times.len()))
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
