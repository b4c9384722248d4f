//! `bench isolation`: a sandbox for a test beside an etcd for it, and `cargo xtask test` beside the same tests by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use etcd_local::Ephemeral;
use etcd_local::binary::Wanted;

use super::machine::{self, NEW};
use super::plain::{self, Plain};
use super::probe::Probed;
use super::process::{answer, succeed};
use super::report::{Counted, Row};
use super::start::PLAIN;
use super::workspace::{self, Workspace};
use super::{Notes, Subject, by_hand, keyspace};

/// How many sandboxes a process opens to find the slowest of a hundred.
const SANDBOXES: u64 = 1_000;
const MB: f64 = 1024.0 * 1024.0;
/// What many tests pay.
pub(super) const TESTS: &str = "tests one after the other, isolated";
/// An etcd for each test, as we start them.
const EPHEMERAL: &str = "ephemeral etcd";
const PIFPAF: &str = "pifpaf";
/// A sandbox is to be so many times cheaper than an etcd.
const CHEAPER: f64 = 200.0;

pub(super) fn measure(rounds: u32, subject: &Subject<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    if subject.installed.pifpaf.is_none() {
        notes.say("pifpaf is not installed: an etcd for each test is ours or a plain one");
    }
    let scene = Scene::open(subject)?;
    let mut rows = opening(rounds, &scene, notes)?;
    rows.extend(by_hand::measure(rounds, subject, notes)?);
    rows.extend(growth(rounds.min(3), &scene, notes)?);
    Ok(rows)
}

/// An etcd that tests share, and a workspace that they are of.
struct Scene<'a> {
    subject: &'a Subject<'a>,
    etcd: std::path::PathBuf,
    shared: Ephemeral,
    workspace: Workspace,
}

impl<'a> Scene<'a> {
    fn open(subject: &'a Subject<'a>) -> Result<Self> {
        let etcd = machine::etcd(&NEW, subject.cx)?;
        let workspace = Workspace::new(subject, None)?;
        // Where the locks of its runs go, as if it had had an instance before.
        std::fs::create_dir(workspace.path(".etcd"))?;
        Ok(Self { subject, etcd, shared: ephemeral(subject)?, workspace })
    }

    /// A process that opens so many sandboxes, one after the other.
    fn probe(&self, sandboxes: u64, args: &[&str]) -> Result<Command> {
        let mut probe = Command::new(std::env::current_exe()?);
        self.workspace.at_home(&mut probe);
        probe.arg("--xtask").arg(self.subject.xtask).args(["probe", "--sandboxes", &sandboxes.to_string()]);
        probe.args(args).env("ETCD_ENDPOINTS", self.shared.endpoints().concat());
        Ok(probe)
    }

    /// What such a process found, that opened enough of them to know the slowest of a hundred.
    fn probed(&self, args: &[&str]) -> Result<Probed> {
        let (_, said) = answer(&mut self.probe(SANDBOXES, args)?)?;
        serde_json::from_str(&said).context("the probe answered no JSON")
    }
}

/// An etcd of one test's own.
fn ephemeral(subject: &Subject<'_>) -> Result<Ephemeral> {
    Ok(subject.cx.builder()?.etcd(Wanted::Exactly(NEW)).start_ephemeral()?)
}

/// What one test pays.
fn opening(rounds: u32, scene: &Scene<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    let data = scene.shared.dir().join("data");
    let data = data.to_str().context("the directory for temporary files is not UTF-8")?;
    let [mut half, mut most, mut written, mut first, mut disk] = [const { Vec::new() }; 5];
    let [mut ours, mut plain, mut pifpaf, mut plain_disk] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let probed = scene.probed(&["--data-dir", data])?;
        half.push(probed.p50_ms);
        most.push(probed.p99_ms);
        written.push(scene.probed(&["--write"])?.p50_ms);
        first.push(probed.first_ms);
        disk.push(probed.disk_bytes as f64 / MB / SANDBOXES as f64);
        let began = Instant::now();
        let etcd = ephemeral(scene.subject)?;
        ours.push(began.elapsed().as_secs_f64() * 1e3);
        drop(etcd);
        let (ready_ms, bytes) = plain_for_a_test(scene.subject, &scene.etcd)?;
        plain.push(ready_ms);
        plain_disk.push(bytes as f64 / MB);
        pifpaf.extend(pifpaf_for_a_test(scene, notes)?);
    }
    let against = |name: &str, others: Vec<f64>| -> Result<Option<Row>> {
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
    ];
    rows.extend(against(EPHEMERAL, ours)?);
    rows.extend(against(PLAIN, plain)?);
    rows.extend(against(PIFPAF, pifpaf)?);
    rows.push(Row::new("disk for a test", "MB", disk)?.beside(PLAIN, plain_disk)?.at_most(0.0));
    Ok(rows)
}

/// How long a plain etcd takes to be ready for a test, and the disk that it takes.
fn plain_for_a_test(subject: &Subject<'_>, etcd: &Path) -> Result<(f64, u64)> {
    let plain = Plain::new(subject, etcd)?;
    let server = plain.start()?;
    Ok((server.ready_ms, plain::disk_bytes(&plain.data())?))
}

/// How long `pifpaf run etcd` takes, with the same etcd, around a test that does nothing.
fn pifpaf_for_a_test(scene: &Scene<'_>, notes: &mut Notes) -> Result<Option<f64>> {
    let Some(pifpaf) = &scene.subject.installed.pifpaf else { return Ok(None) };
    let (client, peer) = plain::free_ports()?;
    let dirs = scene.etcd.parent().map(Path::to_owned).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(dirs.chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(pifpaf);
    workspace::without_settings(&mut command);
    command.args(["run", "etcd", "--port", &client.to_string(), "--peer-port", &peer.to_string(), "--", "true"]);
    command.env("PATH", path).env("TMPDIR", scene.subject.scratch.dir("pifpaf")?);
    match succeed(command.stdout(Stdio::null()).stderr(Stdio::null())) {
        Ok(run) => Ok(Some(run.ms())),
        Err(error) => {
            notes.say(format!("pifpaf did not work: {error:#}; it needs etcdctl on PATH"));
            Ok(None)
        }
    }
}

/// What many tests pay, one after the other, each with one key that it writes: in sandboxes, with the process's start,
/// its connection, its run and the sweep; or with an etcd for each, from its start to its end.
fn growth(rounds: u32, scene: &Scene<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    let subject = scene.subject;
    let most = subject.effort.most_servers();
    let (mut with_plain, mut with_ours) = (Vec::new(), Vec::new());
    for tests in subject.effort.tests() {
        let [mut sandboxes, mut ours, mut plain] = [const { Vec::new() }; 3];
        for round in 0..rounds {
            sandboxes.push(answer(&mut scene.probe(*tests, &["--write"])?)?.0.ms());
            // Their times add up: of many, once is enough.
            let again = round == 0 || *tests < 10;
            if again && *tests <= most.ours {
                let test = || keyspace::put(&ephemeral(subject)?.endpoints().concat(), "/a");
                ours.push(one_after_the_other(*tests, test)?);
            }
            if again && *tests <= most.plain {
                let test = || keyspace::put(&Plain::new(subject, &scene.etcd)?.start()?.url, "/a");
                plain.push(one_after_the_other(*tests, test)?);
            }
        }
        let row = Row::new(TESTS, "ms", sandboxes)?.size(Counted::Tests.of(*tests));
        if !ours.is_empty() {
            with_ours.push(row.clone().beside(EPHEMERAL, ours)?);
        }
        with_plain.push(row.beside(PLAIN, plain)?);
    }
    notes.say(format!(
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
