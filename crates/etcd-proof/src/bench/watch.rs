//! `bench watch`: many changes at full speed, and how soon one is shown.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::effort::EVENTS;
use super::keyspace::{Keyspace, PREFIX, Sides};
use super::process::{Finished, Running};
use super::report::{Counted, Row};
use super::{Notes, Subject, patience};

/// etcdctl shows a change in so many lines: `PUT`, key, value.
const ETCDCTL_LINES: u64 = 3;

pub(super) fn measure(rounds: u32, subject: &Subject<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.missing_etcdctl(subject);
    let events = subject.effort.events();
    let (mut sides, mut first) = (Sides::default(), Vec::new());
    for _ in 0..rounds {
        sides.ours.push(ours(events, subject)?);
        sides.etcdctl.extend(etcdctl(events, subject)?);
        first.push(first_event(subject)?);
    }
    let size = Counted::Events.of(events);
    let judged = events == EVENTS;
    let mut rows = Vec::new();
    let cpu = sides.row("`watch --prefix`, processor time", "s", size, |run| run.cpu_seconds)?;
    // At most what etcdctl takes; where there is none, what it was measured to take.
    rows.extend(cpu.map(|row| match row.other {
        Some(_) => row.ratio_at_most(1.0).judged_if(judged),
        None => row.at_most(0.72).judged_if(judged),
    }));
    rows.extend(sides.row("its memory", "MB", size, |run| run.peak_mb)?);
    rows.push(Row::new("a change is shown, after its write began", "ms", first)?.at_most(20.0));
    Ok(rows)
}

/// Ours ends by itself after so many changes. A lost one would have it wait for another, in vain.
fn ours(events: u64, subject: &Subject<'_>) -> Result<Finished> {
    let keyspace = Keyspace::new(subject)?;
    let mut watch = keyspace.xtask(&["watch", PREFIX, "--prefix", "-n", &events.to_string()]);
    let running = start(&keyspace, &mut watch)?;
    keyspace.fill(events)?;
    let run = running.finish()?;
    ensure!(run.success, "our `watch` failed");
    Ok(run)
}

/// etcdctl's knows no end; it is ended when it has shown all.
fn etcdctl(events: u64, subject: &Subject<'_>) -> Result<Option<Finished>> {
    let keyspace = Keyspace::new(subject)?;
    let Some(mut watch) = keyspace.etcdctl(&["watch", PREFIX, "--prefix"]) else { return Ok(None) };
    let running = start(&keyspace, &mut watch)?;
    keyspace.fill(events)?;
    let (mut shown, mut lines) = (keyspace.printed()?, 0);
    patience::until("etcdctl's `watch` did not show all changes", || {
        lines += more_lines(&mut shown)?;
        Ok((lines >= events * ETCDCTL_LINES).then_some(()))
    })?;
    running.end().map(Some)
}

/// A watch whose server knows of it.
fn start(keyspace: &Keyspace<'_>, watch: &mut Command) -> Result<Running> {
    let running = Running::start(watch.stdin(Stdio::null()).stdout(keyspace.output()?))?;
    keyspace.await_watcher()?;
    Ok(running)
}

/// How many lines a file has beyond where it was read to.
fn more_lines(file: &mut File) -> Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Milliseconds from before a write to the line that shows it.
fn first_event(subject: &Subject<'_>) -> Result<f64> {
    let keyspace = Keyspace::new(subject)?;
    let mut watch = keyspace.xtask(&["watch", "/first", "-n", "1"]);
    let mut running = Running::start(watch.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut lines = BufReader::new(running.stdout()?);
    keyspace.await_watcher()?;
    let began = Instant::now();
    keyspace.put("/first")?;
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let shown = began.elapsed().as_secs_f64() * 1e3;
    ensure!(line.contains("/first"), "`watch` showed something else: {line}");
    running.finish()?;
    Ok(shown)
}
