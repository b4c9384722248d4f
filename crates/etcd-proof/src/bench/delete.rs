//! `bench delete`: every key below a prefix, and how long another client's writes wait meanwhile.

use std::process::Stdio;

use anyhow::Result;

use super::effort::KEYS;
use super::keyspace::{ETCDCTL, Keyspace, Latency, PREFIX, Sides};
use super::process::{Finished, finish, succeed};
use super::report::{Counted, Row, Size};
use super::{Notes, Subject};

/// What is measured first of all.
pub(super) const ALL: &str = "`del --prefix --no-undo`";
/// How long somebody else had to wait.
pub(super) const WAIT: &str = "another client's writes, longest";

pub(super) fn measure(rounds: u32, subject: &Subject<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.missing_etcdctl(subject);
    let mut rows = Vec::new();
    for keys in subject.effort.keys() {
        let mut seen = Seen::default();
        for _ in 0..rounds {
            seen.round(*keys, subject, notes)?;
        }
        let is_last = subject.effort.keys().last() == Some(keys);
        rows.push(seen.rows(Counted::Keys.of(*keys), is_last)?);
    }
    // The sizes of one thing below each other.
    let things = rows.first().map_or(0, Vec::len);
    Ok((0..things).flat_map(|thing| rows.iter().filter_map(move |rows| rows.get(thing).cloned())).collect())
}

/// What was seen at one size.
#[derive(Default)]
struct Seen {
    plain: Sides,
    ours_meanwhile: Vec<Latency>,
    etcdctl_meanwhile: Vec<Latency>,
    with_undo: Sides,
}

impl Seen {
    /// Each on an etcd of its own, which no other deletion has left its marks in.
    fn round(&mut self, keys: u64, subject: &Subject<'_>, notes: &mut Notes) -> Result<()> {
        let keyspace = Keyspace::with_keys(subject, keys)?;
        let count = keys.to_string();
        let del = ["del", PREFIX, "--prefix", "--yes", "--expect-count", &count];
        let load = keyspace.load()?;
        self.plain.ours.push(succeed(keyspace.xtask(&[&del[..], &["--no-undo"]].concat()).stdout(Stdio::null()))?);
        self.ours_meanwhile.push(load.end()?);
        self.etcdctl(keys, subject, notes)?;
        let keyspace = Keyspace::with_keys(subject, keys)?;
        // Its undo file goes with the workspace.
        self.with_undo.ours.push(succeed(keyspace.xtask(&del).stdout(Stdio::null()))?);
        Ok(())
    }

    fn etcdctl(&mut self, keys: u64, subject: &Subject<'_>, notes: &mut Notes) -> Result<()> {
        if subject.installed.etcdctl.is_none() {
            return Ok(());
        }
        let keyspace = Keyspace::with_keys(subject, keys)?;
        let Some(mut etcdctl) = keyspace.etcdctl(&["del", PREFIX, "--prefix"]) else { return Ok(()) };
        let load = keyspace.load()?;
        let run = finish(etcdctl.stdout(Stdio::null()).stderr(Stdio::null()))?;
        self.plain.take_etcdctl(&format!("delete {keys} keys"), run, notes);
        match load.end() {
            Ok(latency) => self.etcdctl_meanwhile.push(latency),
            Err(_) => notes.say(format!("another client's write failed while etcdctl deleted {keys} keys")),
        }
        Ok(())
    }

    fn rows(&self, size: Size, is_last: bool) -> Result<Vec<Row>> {
        let target = |row: Row, most| if is_last { row.at_most(most).judged_if(size.count == KEYS) } else { row };
        let seconds = |run: &Finished| Some(run.seconds);
        let meanwhile = |what: &str, of: fn(&Latency) -> f64, most| -> Result<Row> {
            let ours = self.ours_meanwhile.iter().map(of).collect();
            let etcdctl = self.etcdctl_meanwhile.iter().map(of).collect();
            Ok(target(Row::new(what, "ms", ours)?.size(size).beside(ETCDCTL, etcdctl)?, most))
        };
        let plain = self.plain.row(ALL, "s", size, seconds)?;
        let with_undo = self.with_undo.row("`del --prefix` with its undo file", "s", size, seconds)?;
        let memory = self.with_undo.row("its memory", "MB", size, |run| run.peak_mb)?;
        let mut rows: Vec<Row> = plain.map(|row| target(row, 8.0)).into_iter().collect();
        rows.push(meanwhile("another client's writes, p99", |load| load.p99, 15.0)?);
        rows.push(meanwhile(WAIT, |load| load.worst, 300.0)?);
        rows.extend(with_undo.map(|row| target(row, 15.0)));
        rows.extend(memory);
        Ok(rows)
    }
}
