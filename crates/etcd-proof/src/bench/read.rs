//! `bench read`: every key below a prefix, to a file.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::keyspace::{Keyspace, PREFIX, Sides};
use super::measured::{Measurement, run, run_ok};
use super::report::{Row, Size};
use super::workload::KEYS;
use super::{Notes, Setup};

const GET: [&str; 3] = ["get", PREFIX, "--prefix"];

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    notes.missing_etcdctl(setup);
    let (mut times, mut memory, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for keys in setup.workload.keys() {
        let is_last = setup.workload.keys().last() == Some(keys);
        let target = |row: Row, most| if is_last { row.at_most(most).checked_if(*keys == KEYS) } else { row };
        let size = Size::keys(*keys);
        let keyspace = Keyspace::with_keys(setup, *keys)?;
        let (mut all, mut count) = (Sides::default(), Vec::new());
        for _ in 0..rounds {
            all.ours.push(run_ok(keyspace.xtask(&GET).stdout(keyspace.output()?))?);
            if let Some(mut etcdctl) = keyspace.etcdctl(&GET) {
                let run = run(etcdctl.stdout(keyspace.output()?).stderr(Stdio::null()))?;
                all.add_etcdctl(&format!("read {keys} keys"), run, notes);
            }
            count.push(run_ok(keyspace.xtask(&[&GET[..], &["--count-only"]].concat()).stdout(Stdio::null()))?.seconds);
        }
        times.extend(all.row("`get --prefix`", "s", size, |run| Some(run.seconds))?.map(|row| target(row, 4.0)));
        memory.extend(all.row("its memory", "MB", size, |run| run.peak_mb)?.map(|row| target(row, 60.0)));
        counts.push(target(Row::new("`get --prefix --count-only`", "s", count)?.size(size), 0.5));
    }
    let mut rows = [times, memory, counts].concat();
    rows.extend(through_cargo(rounds.max(5), setup, notes)?);
    Ok(rows)
}

/// What `cargo xtask get` takes more than `etcd-console get`, for one key.
fn through_cargo(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Option<Row>> {
    let keyspace = Keyspace::new(setup)?;
    keyspace.put("/one")?;
    let get = ["get", "/one"];
    let direct = || -> Result<Measurement> { run_ok(keyspace.console(&get).stdout(Stdio::null())) };
    let through = || {
        let mut cargo = Command::new("cargo");
        cargo.arg("xtask").args(get).current_dir(&setup.cx.workspace).env_remove("CARGO_MANIFEST_DIR");
        run(cargo.env("ETCD_ENDPOINTS", keyspace.url()).stdout(Stdio::null()).stderr(Stdio::null()))
    };
    if !through()?.success {
        notes.add("what `cargo xtask` takes by itself is not measured: it does not work in this workspace");
        return Ok(None);
    }
    let mut over = Vec::new();
    for _ in 0..rounds {
        over.push(through()?.ms() - direct()?.ms());
    }
    Ok(Some(Row::new("`cargo xtask get KEY` beyond etcd-console itself", "ms", over)?.at_most(150.0)))
}
