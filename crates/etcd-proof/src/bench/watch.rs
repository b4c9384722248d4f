//! `bench watch`: many changes at full speed, and how soon one is shown.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::keyspace::{Keyspace, PREFIX, Sides};
use super::measured::{MeasuredProcess, Measurement};
use super::report::{Row, Size};
use super::workload::EVENTS;
use super::{Notes, Setup};
use crate::wait;

/// etcdctl shows a change in so many lines: `PUT`, key, value.
const ETCDCTL_LINES: u64 = 3;

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.missing_etcdctl(setup);
    let events = setup.workload.events();
    let (mut sides, mut first) = (Sides::default(), Vec::new());
    for _ in 0..rounds {
        sides.ours.push(ours(events, setup)?);
        sides.etcdctl.extend(etcdctl(events, setup)?);
        first.push(first_event(setup)?);
    }
    let size = Size { count: events, of: "events" };
    let is_full_size = events == EVENTS;
    let mut rows = Vec::new();
    let cpu = sides.row("`watch --prefix`, processor time", "s", size, |run| run.cpu_seconds)?;
    // At most what etcdctl takes. Without etcdctl: what it took when it was measured.
    rows.extend(cpu.map(|row| match row.other {
        Some(_) => row.ratio_at_most(1.0).checked_if(is_full_size),
        None => row.at_most(0.72).checked_if(is_full_size),
    }));
    rows.extend(sides.row("its memory", "MB", size, |run| run.peak_mb)?);
    rows.push(Row::new("a change is shown, after its write began", "ms", first)?.at_most(20.0));
    Ok(rows)
}

/// Our watch ends by itself after so many changes. If one were lost, the bench would run into its timeout.
fn ours(events: u64, setup: &Setup<'_>) -> Result<Measurement> {
    let keyspace = Keyspace::new(setup)?;
    let mut watch = keyspace.xtask(&["watch", PREFIX, "--prefix", "-n", &events.to_string()]);
    let running = start(&keyspace, &mut watch)?;
    keyspace.fill(events)?;
    let run = running.finish()?;
    ensure!(run.success, "our `watch` failed");
    Ok(run)
}

/// etcdctl's watch does not end by itself. It is ended when it has shown all changes.
fn etcdctl(events: u64, setup: &Setup<'_>) -> Result<Option<Measurement>> {
    let keyspace = Keyspace::new(setup)?;
    let Some(mut watch) = keyspace.etcdctl(&["watch", PREFIX, "--prefix"]) else { return Ok(None) };
    let running = start(&keyspace, &mut watch)?;
    keyspace.fill(events)?;
    let (mut shown, mut lines) = (keyspace.printed()?, 0);
    wait::until("etcdctl's `watch` has shown all changes", wait::TIMEOUT, || {
        lines += more_lines(&mut shown)?;
        Ok(lines >= events * ETCDCTL_LINES)
    })?;
    running.end().map(Some)
}

/// Starts a watch; returns when the server knows the watch.
fn start(keyspace: &Keyspace<'_>, watch: &mut Command) -> Result<MeasuredProcess> {
    let running = MeasuredProcess::start(watch.stdin(Stdio::null()).stdout(keyspace.output()?))?;
    keyspace.await_watch()?;
    Ok(running)
}

/// How many lines a file has beyond the position to which it was read.
fn more_lines(file: &mut File) -> Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Milliseconds from before a write to the line that shows it.
fn first_event(setup: &Setup<'_>) -> Result<f64> {
    let keyspace = Keyspace::new(setup)?;
    let mut watch = keyspace.xtask(&["watch", "/first", "-n", "1"]);
    let mut running = MeasuredProcess::start(watch.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut lines = BufReader::new(running.stdout()?);
    keyspace.await_watch()?;
    let began = Instant::now();
    keyspace.put("/first")?;
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let shown = began.elapsed().as_secs_f64() * 1e3;
    ensure!(line.contains("/first"), "`watch` showed something else: {line}");
    running.finish()?;
    Ok(shown)
}
