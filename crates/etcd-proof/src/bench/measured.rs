//! A process measured from outside: time, processor time, memory. Linux shows the latter two in `/proc` while it runs;
//! elsewhere only the time is known. The process ends when its [`MeasuredProcess`] is dropped, or after [`TIMEOUT`].

use std::fs;
use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait;
use crate::workspace::command_line;

/// Ten times what the slowest process takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How often its memory is read, if it runs long; the memory of a short process is read more often.
const LONGEST_INTERVAL: Duration = Duration::from_millis(2);

/// What a finished process took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measurement {
    pub(super) success: bool,
    pub(super) seconds: f64,
    /// Processor time, its own and the system's for it; `None` where it is not known.
    pub(super) cpu_seconds: Option<f64>,
    /// The most memory it held; `None` where it is not known.
    pub(super) peak_mb: Option<f64>,
}

impl Measurement {
    pub(super) fn ms(&self) -> f64 {
        self.seconds * 1e3
    }
}

/// A process under observation.
pub(super) struct MeasuredProcess {
    name: String,
    stdout: Option<ChildStdout>,
    end: Arc<AtomicBool>,
    observer: Option<JoinHandle<Result<Measurement>>>,
}

/// Runs a command.
pub(super) fn run(command: &mut Command) -> Result<Measurement> {
    MeasuredProcess::start(command.stdin(Stdio::null()))?.finish()
}

/// Runs a command, which must succeed.
pub(super) fn run_ok(command: &mut Command) -> Result<Measurement> {
    let run = run(command)?;
    ensure!(run.success, "`{}` failed", command_line(command));
    Ok(run)
}

/// Runs a command, which must succeed, and returns what it prints.
pub(super) fn run_for_output(command: &mut Command) -> Result<(Measurement, String)> {
    let mut running = MeasuredProcess::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut text = String::new();
    running.stdout()?.read_to_string(&mut text)?;
    let run = running.finish()?;
    ensure!(run.success, "`{}` failed", command_line(command));
    Ok((run, text))
}

impl MeasuredProcess {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let (name, end) = (command_line(command), Arc::new(AtomicBool::new(false)));
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run `{name}`"))?;
        let stdout = child.stdout.take();
        let must_end = Arc::clone(&end);
        let observer = std::thread::spawn(move || observe(child, began, &must_end));
        Ok(Self { name, stdout, end, observer: Some(observer) })
    }

    /// Its output, if [`Stdio::piped`] was set; once.
    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.stdout.take().with_context(|| format!("`{}` has no stdout", self.name))
    }

    /// Waits until it ends.
    pub(super) fn finish(mut self) -> Result<Measurement> {
        self.join()
    }

    /// Kills it.
    pub(super) fn end(mut self) -> Result<Measurement> {
        self.end.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<Measurement> {
        let observer = self.observer.take().context("the process has ended already")?;
        match observer.join() {
            Ok(finished) => finished.with_context(|| format!("`{}` failed", self.name)),
            Err(_) => bail!("`{}` could not be observed", self.name),
        }
    }
}

impl Drop for MeasuredProcess {
    fn drop(&mut self) {
        if self.observer.is_some() {
            self.end.store(true, Ordering::Relaxed);
            let _ = self.join();
        }
    }
}

/// Observes a process until it ends, or must be ended.
fn observe(mut child: Child, began: Instant, end: &AtomicBool) -> Result<Measurement> {
    let mut usage = Usage::default();
    let mut outcome = Ok(());
    let status: ExitStatus = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        usage = Usage::of(child.id(), usage);
        let elapsed = began.elapsed();
        if outcome.is_ok() && elapsed > TIMEOUT {
            outcome = Err(anyhow::anyhow!("it took longer than {} s", TIMEOUT.as_secs()));
        }
        if outcome.is_ok() {
            outcome = wait::check_interrupted();
        }
        if outcome.is_err() || end.load(Ordering::Relaxed) {
            let _ = child.kill();
        }
        // An error of one per cent in the time is small enough.
        std::thread::park_timeout((elapsed / 100).clamp(Duration::from_micros(50), LONGEST_INTERVAL));
    };
    let seconds = began.elapsed().as_secs_f64();
    outcome?;
    let Usage { cpu_seconds, peak_mb } = usage;
    Ok(Measurement { success: status.success(), seconds, cpu_seconds, peak_mb })
}

#[derive(Clone, Copy, Default)]
struct Usage {
    cpu_seconds: Option<f64>,
    peak_mb: Option<f64>,
}

impl Usage {
    /// The greater of the process's usage now and `before`: the system shows no memory for a process that is exiting.
    fn of(pid: u32, before: Self) -> Self {
        let greater = |now: Option<f64>, before: Option<f64>| match (now, before) {
            (Some(now), Some(before)) => Some(now.max(before)),
            (now, before) => now.or(before),
        };
        Self {
            cpu_seconds: greater(cpu_seconds(pid), before.cpu_seconds),
            peak_mb: greater(peak_mb(pid), before.peak_mb),
        }
    }
}

/// The processor time that a process has taken so far; `None` where it is not known.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    // The kernel counts in clock ticks, 100 a second on every Linux (USER_HZ).
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let (user, system): (f64, f64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

/// The most memory that a process has held so far; `None` where it is not known.
pub(super) fn peak_mb(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_to_its_end() {
        assert!(!run(&mut Command::new("false")).unwrap().success);
        let (run, output) = run_for_output(Command::new("sh").args(["-c", "echo hello; sleep 0.05"])).unwrap();
        assert_eq!(output, "hello\n");
        assert!(run.seconds >= 0.05 && (!cfg!(target_os = "linux") || run.peak_mb.unwrap() > 0.1), "{run:?}");
        let failed = run_ok(&mut Command::new("false")).unwrap_err();
        assert_eq!(failed.to_string(), "`false` failed");
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let began = Instant::now();
        drop(MeasuredProcess::start(Command::new("sleep").arg("600")).unwrap());
        let ended = MeasuredProcess::start(Command::new("sleep").arg("600")).unwrap().end().unwrap();
        assert!(!ended.success && began.elapsed() < Duration::from_secs(500));
    }
}
