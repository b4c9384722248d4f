//! `bench store`: Cloud Chamber's store beside a bare etcd-client. The store's own example program makes the calls of
//! both; here it is built and run, and its figures are compared with the target.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use etcd_local::binary::Wanted;
use etcd_xtask::on_demand;
use serde::Deserialize;

use super::Setup;
use super::machine::NEW;
use super::measured::run_for_output;
use super::report::{Row, Size};
use super::workload::RECORDS;
use crate::workspace;

const PACKAGE: &str = "cloudchamber-store";
const EXAMPLE: &str = "store_bench";
const OTHER: &str = "bare etcd-client";
/// The store may take this many times as long as its calls to etcd.
const RATIO: f64 = 1.2;

/// What the example prints.
#[derive(Deserialize)]
struct Answer {
    rows: Vec<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    what: String,
    unit: String,
    ours: Vec<f64>,
    other: Vec<f64>,
}

pub(super) fn measure(rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let manifest = on_demand::manifest(PACKAGE, setup.cx);
    let package = manifest.as_deref().and_then(Path::parent).context("the store's sources are not in this checkout")?;
    let etcd = setup.cx.builder()?.etcd(Wanted::Exactly(NEW)).start_ephemeral()?;
    let records = setup.workload.records();
    let mut cargo = Command::new("cargo");
    workspace::remove_settings(&mut cargo);
    // From within the workspace, whose configuration brings a protoc.
    cargo.current_dir(package).args(["run", "--quiet", "--package", PACKAGE]);
    cargo.args(["--example", EXAMPLE, "--", "--endpoints", &etcd.endpoints().concat()]);
    cargo.args(["--rounds", &rounds.to_string(), "--records", &records.to_string()]);
    let (_, output) = run_for_output(&mut cargo)?;
    rows(&output, records)
}

fn rows(output: &str, records: u64) -> Result<Vec<Row>> {
    let answer: Answer = serde_json::from_str(output).with_context(|| format!("`{EXAMPLE}` printed no rows"))?;
    ensure!(!answer.rows.is_empty(), "`{EXAMPLE}` measured nothing");
    let row = |Measured { what, unit, ours, other }| -> Result<Row> {
        let row = Row::new(what, &unit, ours)?.size(Size { count: records, of: "records" }).beside(OTHER, other)?;
        Ok(row.ratio_at_most(RATIO).checked_if(records == RECORDS))
    };
    answer.rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_example_prints_is_compared_with_the_target() {
        let output = r#"{"rows":[{"what":"read","unit":"ms","ours":[1.3,1.1,1.0],"other":[1.0,1.0,1.0]},
                               {"what":"list","unit":"ms","ours":[3.0],"other":[1.0]}]}"#;
        let met = |records| rows(output, records).unwrap().iter().map(|row| row.met).collect::<Vec<_>>();
        assert_eq!(met(RECORDS), [Some(true), Some(false)]);
        assert_eq!(met(10), [None, None]);
        assert!(rows("{}", 10).is_err() && rows(r#"{"rows":[]}"#, 10).is_err());
    }
}
