//! `bench isolation`: a sandbox for a test beside an etcd for it, and `cargo xtask test` beside the same tests by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use etcd_local::Ephemeral;
use etcd_local::binary::Wanted;

use super::machine::{self, NEW};
use super::measured::{run_for_output, run_ok};
use super::plain_etcd::{self, PLAIN, PlainEtcd};
use super::probe::Probe;
use super::report::{Row, Size};
use super::workspace::BenchWorkspace;
use super::{Notes, Setup, test_overhead};
use crate::workspace;

/// How many sandboxes a process opens: enough for a 99th percentile.
const SANDBOXES: u64 = 1_000;
const MB: f64 = 1024.0 * 1024.0;
/// How many changes a test makes that fails.
const CHANGES: u64 = 100;
/// One of our etcds for each test.
const EPHEMERAL: &str = "ephemeral etcd";
const PIFPAF: &str = "pifpaf";
/// The target: a sandbox costs so many times less than an etcd.
const CHEAPER: f64 = 200.0;

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    if setup.installed.pifpaf.is_none() {
        notes.add("pifpaf is not installed: an etcd for each test is ours or a plain one");
    }
    let shared = SharedEtcd::start(setup)?;
    let mut rows = opening(rounds, &shared, notes)?;
    rows.push(search(rounds.min(3), &shared)?);
    rows.extend(test_overhead::measure(rounds, setup, notes)?);
    rows.extend(growth(rounds.min(3), &shared, notes)?);
    Ok(rows)
}

/// An etcd that tests share, and their workspace.
struct SharedEtcd<'a> {
    setup: &'a Setup<'a>,
    etcd: std::path::PathBuf,
    server: Ephemeral,
    workspace: BenchWorkspace,
}

impl<'a> SharedEtcd<'a> {
    fn start(setup: &'a Setup<'a>) -> Result<Self> {
        let etcd = machine::etcd(&NEW, setup.cx)?;
        let workspace = BenchWorkspace::new(setup, None)?;
        // The directory of its runs' locks, as if the workspace had an instance.
        std::fs::create_dir(workspace.path(".etcd"))?;
        Ok(Self { setup, etcd, server: ephemeral(setup)?, workspace })
    }

    /// A process that opens so many sandboxes, one after the other.
    fn probe(&self, sandboxes: u64, args: &[&str]) -> Result<Command> {
        let mut probe = Command::new(std::env::current_exe()?);
        self.workspace.enter(&mut probe);
        probe.arg("--xtask").arg(self.setup.xtask).args(["probe", "--sandboxes", &sandboxes.to_string()]);
        probe.args(args).env("ETCD_ENDPOINTS", self.server.endpoints().concat());
        Ok(probe)
    }

    /// Runs such a process with enough sandboxes for a 99th percentile.
    fn run_probe(&self, args: &[&str]) -> Result<Probe> {
        read_probe(&mut self.probe(SANDBOXES, args)?)
    }
}

fn read_probe(probe: &mut Command) -> Result<Probe> {
    let (_, output) = run_for_output(probe)?;
    serde_json::from_str(&output).context("the probe answered no JSON")
}

/// An etcd for one test.
fn ephemeral(setup: &Setup<'_>) -> Result<Ephemeral> {
    Ok(setup.cx.builder()?.etcd(Wanted::Exactly(NEW)).start_ephemeral()?)
}

/// What one test costs.
fn opening(rounds: u32, shared: &SharedEtcd<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    let data = shared.server.dir().join("ephemeral").join("data");
    let data = data.to_str().context("the directory for temporary files is not UTF-8")?;
    let [mut half, mut most, mut written, mut first, mut disk, mut failure] = [const { Vec::new() }; 6];
    let [mut ours, mut plain, mut pifpaf, mut plain_disk] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let probe = shared.run_probe(&["--data-dir", data])?;
        half.push(probe.p50_ms);
        most.push(probe.p99_ms);
        written.push(shared.run_probe(&["--write"])?.p50_ms);
        first.push(probe.first_ms);
        let mut failing = shared.probe(1, &["--failing-changes", &CHANGES.to_string()])?;
        // It has the timelines.
        failure.extend(read_probe(failing.stderr(Stdio::null()))?.failure_ms);
        disk.push(probe.disk_bytes as f64 / MB / SANDBOXES as f64);
        let began = Instant::now();
        let etcd = ephemeral(shared.setup)?;
        ours.push(began.elapsed().as_secs_f64() * 1e3);
        drop(etcd);
        let (ready_ms, bytes) = plain_for_a_test(shared.setup, &shared.etcd)?;
        plain.push(ready_ms);
        plain_disk.push(bytes as f64 / MB);
        pifpaf.extend(pifpaf_for_a_test(shared, notes)?);
    }
    let against = |name: &'static str, others: Vec<f64>| -> Result<Option<Row>> {
        if others.is_empty() {
            return Ok(None);
        }
        let row = Row::new("a sandbox for a test, or an etcd", "ms", half.clone())?.beside(name, others)?;
        Ok(Some(row.ratio_at_most(1.0 / CHEAPER)))
    };
    let mut rows = vec![
        Row::new("opening a sandbox, p50", "ms", half.clone())?.at_most(0.3),
        Row::new("opening a sandbox, p99", "ms", most)?.at_most(2.0),
        Row::new("opening one and writing a key, p50", "ms", written)?,
        Row::new("opening a process's first: connection, run", "ms", first)?,
        Row::new(format!("what a test of {CHANGES} changes pays if it fails"), "ms", failure)?,
    ];
    rows.extend(against(EPHEMERAL, ours)?);
    rows.extend(against(PLAIN, plain)?);
    rows.extend(against(PIFPAF, pifpaf)?);
    rows.push(Row::new("disk for a test", "MB", disk)?.beside(PLAIN, plain_disk)?.at_most(0.0));
    Ok(rows)
}

/// What the search for changes outside of a run takes at the run's end.
fn search(rounds: u32, shared: &SharedEtcd<'_>) -> Result<Row> {
    let changes = shared.setup.workload.changes_of_a_run();
    let one = || {
        read_probe(&mut shared.probe(1, &["--searched-changes", &changes.to_string()])?)?.search_ms.context("no search")
    };
    let ms = (0..rounds).map(|_| one()).collect::<Result<Vec<_>>>()?;
    Ok(Row::new(format!("the end of a run of {changes} changes: changes elsewhere are searched"), "ms", ms)?
        .at_most(100.0))
}

/// How long a plain etcd takes to be ready for a test, and the disk that it takes.
fn plain_for_a_test(setup: &Setup<'_>, etcd: &Path) -> Result<(f64, u64)> {
    let plain = PlainEtcd::new(setup, etcd)?;
    let server = plain.start()?;
    Ok((server.ready_ms, plain_etcd::disk_bytes(&plain.data())?))
}

/// How long `pifpaf run etcd` takes, with the same etcd, around a test that does nothing.
fn pifpaf_for_a_test(shared: &SharedEtcd<'_>, notes: &mut Notes) -> Result<Option<f64>> {
    let Some(pifpaf) = &shared.setup.installed.pifpaf else { return Ok(None) };
    let (client, peer) = workspace::free_ports()?;
    let dirs = shared.etcd.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(dirs.chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(pifpaf);
    workspace::remove_settings(&mut command);
    command.args(["run", "etcd", "--port", &client.to_string(), "--peer-port", &peer.to_string(), "--", "true"]);
    command.env("PATH", path).env("TMPDIR", shared.setup.scratch.subdir("pifpaf")?);
    match run_ok(command.stdout(Stdio::null()).stderr(Stdio::null())) {
        Ok(run) => Ok(Some(run.ms())),
        Err(error) => {
            notes.add(format!("pifpaf did not work: {error:#}; it needs etcdctl on PATH"));
            Ok(None)
        }
    }
}

/// What many tests cost, one after the other, each with one key that it writes: in sandboxes, with the process's start,
/// its connection, its run and the sweep; or with an etcd for each, from its start to its end.
fn growth(rounds: u32, shared: &SharedEtcd<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    let setup = shared.setup;
    let most = setup.workload.most_servers();
    let (mut with_plain, mut with_ours) = (Vec::new(), Vec::new());
    for tests in setup.workload.tests() {
        let [mut sandboxes, mut ours, mut plain] = [const { Vec::new() }; 3];
        for round in 0..rounds {
            sandboxes.push(run_for_output(&mut shared.probe(*tests, &["--write"])?)?.0.ms());
            // The sum of many varies little: one round is enough.
            let again = round == 0 || *tests < 10;
            if again && *tests <= most.ours {
                let test = || workspace::put(&ephemeral(setup)?.endpoints().concat(), "/a", "x");
                ours.push(one_after_the_other(*tests, test)?);
            }
            if again && *tests <= most.plain {
                let test = || workspace::put(&PlainEtcd::new(setup, &shared.etcd)?.start()?.url, "/a", "x");
                plain.push(one_after_the_other(*tests, test)?);
            }
        }
        let row =
            Row::new("tests one after the other, isolated", "ms", sandboxes)?.size(Size { count: *tests, of: "tests" });
        if !ours.is_empty() {
            with_ours.push(row.clone().beside(EPHEMERAL, ours)?);
        }
        with_plain.push(row.beside(PLAIN, plain)?);
    }
    notes.add(format!(
        "an etcd for each of more than {} tests is not measured, nor a plain one for more than {}: it takes too long",
        most.ours, most.plain
    ));
    Ok([with_plain, with_ours].concat())
}

/// Milliseconds.
fn one_after_the_other(tests: u64, test: impl Fn() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..tests {
        test()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
