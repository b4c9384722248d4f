//! `bench delete`: every key below a prefix, and how long another client's writes wait meanwhile.

use std::process::Stdio;

use anyhow::Result;

use super::keyspace::{ETCDCTL, Keyspace, Latency, PREFIX, Sides};
use super::measured::{Measurement, run, run_ok};
use super::report::{Row, Size};
use super::workload::KEYS;
use super::{Notes, Setup};

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.missing_etcdctl(setup);
    let mut rows = Vec::new();
    for keys in setup.workload.keys() {
        let mut deletions = Deletions::default();
        for _ in 0..rounds {
            deletions.round(*keys, setup, notes)?;
        }
        let is_last = setup.workload.keys().last() == Some(keys);
        rows.push(deletions.rows(Size::keys(*keys), is_last)?);
    }
    // Rows of the same thing follow each other, by size.
    let things = rows.first().map_or(0, Vec::len);
    Ok((0..things).flat_map(|thing| rows.iter().filter_map(move |rows| rows.get(thing).cloned())).collect())
}

/// The runs of one size.
#[derive(Default)]
struct Deletions {
    plain: Sides,
    ours_meanwhile: Vec<Latency>,
    etcdctl_meanwhile: Vec<Latency>,
    with_undo: Sides,
}

impl Deletions {
    /// Each deletion has a fresh etcd, so that no other deletion influences it.
    fn round(&mut self, keys: u64, setup: &Setup<'_>, notes: &mut Notes) -> Result<()> {
        let keyspace = Keyspace::with_keys(setup, keys)?;
        let count = keys.to_string();
        let del = ["del", PREFIX, "--prefix", "--yes", "--expect-count", &count];
        let load = keyspace.load()?;
        self.plain.ours.push(run_ok(keyspace.xtask(&[&del[..], &["--no-undo"]].concat()).stdout(Stdio::null()))?);
        self.ours_meanwhile.push(load.end()?);
        self.etcdctl(keys, setup, notes)?;
        let keyspace = Keyspace::with_keys(setup, keys)?;
        // Its undo file goes with the workspace.
        self.with_undo.ours.push(run_ok(keyspace.xtask(&del).stdout(Stdio::null()))?);
        Ok(())
    }

    fn etcdctl(&mut self, keys: u64, setup: &Setup<'_>, notes: &mut Notes) -> Result<()> {
        if setup.installed.etcdctl.is_none() {
            return Ok(());
        }
        let keyspace = Keyspace::with_keys(setup, keys)?;
        let Some(mut etcdctl) = keyspace.etcdctl(&["del", PREFIX, "--prefix"]) else { return Ok(()) };
        let load = keyspace.load()?;
        let run = run(etcdctl.stdout(Stdio::null()).stderr(Stdio::null()))?;
        self.plain.add_etcdctl(&format!("delete {keys} keys"), run, notes);
        match load.end() {
            Ok(latency) => self.etcdctl_meanwhile.push(latency),
            Err(_) => notes.add(format!("another client's write failed while etcdctl deleted {keys} keys")),
        }
        Ok(())
    }

    fn rows(&self, size: Size, is_last: bool) -> Result<Vec<Row>> {
        let target = |row: Row, most| if is_last { row.at_most(most).checked_if(size.count == KEYS) } else { row };
        let seconds = |run: &Measurement| Some(run.seconds);
        let meanwhile = |what: &str, of: fn(&Latency) -> f64, most| -> Result<Row> {
            let ours = self.ours_meanwhile.iter().map(of).collect();
            let etcdctl = self.etcdctl_meanwhile.iter().map(of).collect();
            Ok(target(Row::new(what, "ms", ours)?.size(size).beside(ETCDCTL, etcdctl)?, most))
        };
        let plain = self.plain.row("`del --prefix --no-undo`", "s", size, seconds)?;
        let with_undo = self.with_undo.row("`del --prefix` with its undo file", "s", size, seconds)?;
        let memory = self.with_undo.row("its memory", "MB", size, |run| run.peak_mb)?;
        let mut rows: Vec<Row> = plain.map(|row| target(row, 8.0)).into_iter().collect();
        rows.push(meanwhile("another client's writes, p99", |load| load.p99, 15.0)?);
        rows.push(meanwhile("another client's writes, longest", |load| load.worst, 300.0)?);
        rows.extend(with_undo.map(|row| target(row, 15.0)));
        rows.extend(memory);
        Ok(rows)
    }
}
