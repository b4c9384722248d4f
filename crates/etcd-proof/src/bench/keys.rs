//! `bench read`, `delete` and `watch`: our commands over many keys, as the user calls them, beside etcdctl
//! where it is installed. On an ephemeral etcd of their own.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use etcd_local::Ephemeral;
use serde::Deserialize;

use super::process::{Finished, finish};
use super::{Report, Row, Subject};
use etcd_xtask::on_demand;

const PREFIX: &str = "/bench/";
/// Keys, and bytes of each value, that the targets speak of.
const KEYS: u32 = 1_000_000;
const EVENTS: u32 = 300_000;

/// An etcd, our commands against it, and etcdctl if there is one.
struct Bench<'a> {
    subject: &'a Subject<'a>,
    etcd: Ephemeral,
    console: PathBuf,
    etcdctl: Option<PathBuf>,
    dir: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let cx = subject.cx;
        let builder = cx.builder()?;
        let etcdctl = builder.binaries().etcdctl(None);
        if etcdctl.is_none() {
            cx.output.note("etcdctl is not installed: nothing to compare with");
        }
        let etcd = builder.arg("--quota-backend-bytes=8589934592").start_ephemeral()?;
        Ok(Self { subject, etcd, console: on_demand::program("etcd-console", cx)?, etcdctl, dir: tempfile::tempdir()? })
    }

    fn endpoints(&self) -> String {
        self.etcd.endpoints().join(",")
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    fn xtask(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.subject.xtask);
        command.args(args).current_dir(&self.subject.cx.workspace).env("ETCD_ENDPOINTS", self.endpoints());
        Ok(command)
    }

    fn etcdctl(&self, args: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.etcdctl.as_ref()?);
        command.args(args).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", self.endpoints());
        Some(command)
    }

    fn hidden(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.console);
        command.args(["--endpoints", &self.endpoints()]).args(args);
        command
    }

    fn fill(&self, keys: u32) -> Result<()> {
        let filled =
            finish(self.hidden(&["fill", "--prefix", PREFIX, "--count", &keys.to_string()]).stdout(Stdio::null()))?;
        ensure!(filled.success, "the keys could not be written");
        Ok(())
    }

    fn output(&self) -> Result<Stdio> {
        Ok(File::create(self.dir.path().join("out"))?.into())
    }
}

pub(super) fn read(rounds: u32, subject: &Subject<'_>) -> Result<Report> {
    let bench = Bench::new(subject)?;
    bench.fill(KEYS)?;
    let get = ["get", PREFIX, "--prefix"];
    let count = ["get", PREFIX, "--prefix", "--count-only"];
    let (mut ours, mut theirs, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(succeeded(finish(bench.xtask(&get)?.stdout(bench.output()?))?)?);
        counts.push(succeeded(finish(bench.xtask(&count)?.stdout(Stdio::null()))?)?);
        // It takes half a minute: once is enough to know.
        if let Some(mut etcdctl) = bench.etcdctl(&get).filter(|_| theirs.is_empty()) {
            theirs.push(finish(etcdctl.stdout(bench.output()?))?);
        }
    }
    let mut rows = vec![row("`get --prefix` of 1M keys, s", &ours, &theirs, |run| run.seconds, "s", Some(4.0))?];
    rows.push(row("its memory, MB", &ours, &theirs, |run| run.peak_mb, "MB", Some(60.0))?);
    rows.push(row("`get --prefix --count-only`, s", &counts, &[], |run| run.seconds, "s", Some(0.5))?);
    Ok(Report::new("read", rounds, rows))
}

pub(super) fn delete(rounds: u32, subject: &Subject<'_>) -> Result<Report> {
    let bench = Bench::new(subject)?;
    let expected = KEYS.to_string();
    let plain = ["del", PREFIX, "--prefix", "--yes", "--expect-count", &expected, "--no-undo"];
    let mut undone = Vec::new();
    let (mut ours, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bench.fill(KEYS)?;
        let load = Load::start(&bench)?;
        ours.push(succeeded(finish(bench.xtask(&plain)?.stdout(Stdio::null()))?)?);
        loads.push(load.end()?);
        bench.fill(KEYS)?;
        let with_undo = plain.split_last().map_or(&plain[..0], |(_, most)| most);
        let run = succeeded(finish(bench.xtask(with_undo)?.stdout(bench.output()?))?)?;
        undone.push(run);
        remove_undo_file(&bench)?;
    }
    let (mut theirs, mut their_loads) = (Vec::new(), Vec::new());
    if bench.etcdctl.is_some() {
        bench.fill(KEYS)?;
        let load = Load::start(&bench)?;
        if let Some(mut etcdctl) = bench.etcdctl(&["del", PREFIX, "--prefix"]) {
            let run = finish(etcdctl.stdout(Stdio::null()).stderr(Stdio::null()))?;
            if !run.success {
                subject.cx.output.note(format_args!("etcdctl's `del --prefix` failed after {:.1} s", run.seconds));
            }
            theirs.push(run);
        }
        their_loads.push(load.end()?);
    }
    let stall = |loads: &[Latency], of: fn(&Latency) -> f64| loads.iter().map(of).collect::<Vec<f64>>();
    let beside = |what, of: fn(&Latency) -> f64, target| match stall(&their_loads, of) {
        none if none.is_empty() => Row::absolute(what, "ms", stall(&loads, of), Some(target)),
        other => Row::beside(what, "ms", stall(&loads, of), "etcdctl", other, target),
    };
    let rows = vec![
        row("`del --prefix` of 1M keys without undo, s", &ours, &theirs, |run| run.seconds, "s", Some(8.0))?,
        beside("another client's writes meanwhile, p99", |load| load.p99, 15.0)?,
        beside("another client's writes meanwhile, worst", |load| load.worst, 300.0)?,
        row("`del --prefix` of 1M keys with undo, s", &undone, &[], |run| run.seconds, "s", Some(15.0))?,
        row("its memory, MB", &undone, &[], |run| run.peak_mb, "MB", None)?,
    ];
    Ok(Report::new("delete", rounds, rows))
}

/// The undo file of the bench's own keys is of no use to anybody.
fn remove_undo_file(bench: &Bench<'_>) -> Result<()> {
    let said = std::fs::read_to_string(bench.dir.path().join("out"))?;
    let path = said.lines().find_map(|line| line.trim().strip_prefix("undo: cargo xtask undo "));
    std::fs::remove_file(path.context("`del` named no undo file")?)?;
    Ok(())
}

pub(super) fn watch(rounds: u32, subject: &Subject<'_>) -> Result<Report> {
    let bench = Bench::new(subject)?;
    let count = EVENTS.to_string();
    let (mut ours, mut theirs, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut watch = bench.xtask(&["watch", PREFIX, "--prefix", "-n", &count])?;
        ours.push(succeeded(watched(&bench, &mut watch, None)?)?);
        if let Some(mut etcdctl) = bench.etcdctl(&["watch", PREFIX, "--prefix"]) {
            theirs.push(watched(&bench, &mut etcdctl, Some(EVENTS * 3))?);
        }
        first.push(first_event(&bench)?);
    }
    let rows = vec![
        row("watch of 300,000 events, CPU s of user", &ours, &theirs, |run| run.user_seconds, "s", Some(0.72))?,
        row("its memory, MB", &ours, &theirs, |run| run.peak_mb, "MB", None)?,
        Row::absolute("first event shown after its write", "ms", first, Some(20.0))?,
    ];
    Ok(Report::new("watch", rounds, rows))
}

/// A watch that sees [`EVENTS`] written at full speed. Ours ends by itself after so many, which proves that
/// none was lost; etcdctl's is ended after it has printed so many lines.
fn watched(bench: &Bench<'_>, watch: &mut Command, lines: Option<u32>) -> Result<Finished> {
    let path = bench.dir.path().join("watched");
    watch.stdin(Stdio::null()).stdout(File::create(&path)?);
    let mut running = super::process::Running::start(watch)?;
    std::thread::park_timeout(Duration::from_secs(1)); // for the watch to begin
    bench.fill(EVENTS)?;
    let Some(lines) = lines else { return running.finish() };
    let began = Instant::now();
    while BufReader::new(File::open(&path)?).lines().count() < lines as usize
        && began.elapsed() < Duration::from_secs(60)
    {
        std::thread::park_timeout(Duration::from_millis(200));
    }
    running.end()
}

/// Milliseconds from before a write to the line that shows it.
fn first_event(bench: &Bench<'_>) -> Result<f64> {
    let mut watch = bench.xtask(&["watch", "/first", "-n", "1"])?.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("no stdout")?);
    std::thread::park_timeout(Duration::from_secs(1)); // for the watch to begin
    let began = Instant::now();
    let url = format!("{}/v3/kv/put", bench.endpoints());
    minreq::post(url).with_body(r#"{"key":"L2ZpcnN0","value":"eA=="}"#).with_timeout(10).send()?;
    lines.read_line(&mut String::new())?;
    let shown = began.elapsed().as_secs_f64() * 1e3;
    watch.wait()?;
    Ok(shown)
}

/// Another client, at work until told to stop.
struct Load(Child);

#[derive(Deserialize)]
struct Latency {
    p99: f64,
    worst: f64,
}

impl Load {
    fn start(bench: &Bench<'_>) -> Result<Self> {
        let mut load = bench.hidden(&["load", "--key", "/other-client"]);
        let load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        std::thread::park_timeout(Duration::from_millis(500)); // for it to connect
        Ok(Self(load))
    }

    fn end(mut self) -> Result<Latency> {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let output = self.0.wait_with_output()?;
        serde_json::from_slice(&output.stdout).context("the other client said no latencies")
    }
}

fn succeeded(run: Finished) -> Result<Finished> {
    ensure!(run.success, "a command of ours failed");
    Ok(run)
}

/// A row whose target is absolute, and whose other side is there to compare with.
fn row(
    what: &str,
    ours: &[Finished],
    theirs: &[Finished],
    of: fn(&Finished) -> f64,
    unit: &'static str,
    target: Option<f64>,
) -> Result<Row> {
    let ours = ours.iter().map(of).collect();
    let theirs: Vec<f64> = theirs.iter().map(of).collect();
    match (theirs.is_empty(), target) {
        (false, Some(target)) => Row::beside(what, unit, ours, "etcdctl", theirs, target),
        _ => Row::absolute(what, unit, ours, target),
    }
}
