//! One process measured from outside: time, processor, memory. Linux shows the latter two in `/proc` while it runs;
//! elsewhere only the time is known. A process ends with its [`Running`], and at the latest after [`PATIENCE`].

use std::fs;
use std::io::Read as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::patience;

/// Ten times what the slowest of them takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often its memory is looked at, if it runs long; a short one is looked at more often.
const PACE: Duration = Duration::from_millis(2);

/// What a finished process took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    pub(super) success: bool,
    pub(super) seconds: f64,
    /// Processor time, its own and the system's for it; `None` where it is not known.
    pub(super) cpu_seconds: Option<f64>,
    /// The most memory it held; `None` where it is not known.
    pub(super) peak_mb: Option<f64>,
}

impl Finished {
    pub(super) fn ms(&self) -> f64 {
        self.seconds * 1e3
    }
}

/// A process under observation.
pub(super) struct Running {
    name: String,
    stdout: Option<ChildStdout>,
    end: Arc<AtomicBool>,
    observer: Option<JoinHandle<Result<Finished>>>,
}

/// Runs a command to its end.
pub(super) fn finish(command: &mut Command) -> Result<Finished> {
    Running::start(command.stdin(Stdio::null()))?.finish()
}

/// Runs a command of ours, which must succeed, to its end.
pub(super) fn succeed(command: &mut Command) -> Result<Finished> {
    let run = finish(command)?;
    ensure!(run.success, "`{}` failed", line(command));
    Ok(run)
}

/// Runs a command that must succeed, and takes what it prints.
pub(super) fn answer(command: &mut Command) -> Result<(Finished, String)> {
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut text = String::new();
    running.stdout()?.read_to_string(&mut text)?;
    let run = running.finish()?;
    ensure!(run.success, "`{}` failed", line(command));
    Ok((run, text))
}

/// A command line, for messages.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let (name, end) = (line(command), Arc::new(AtomicBool::new(false)));
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run `{name}`"))?;
        let stdout = child.stdout.take();
        let asked = Arc::clone(&end);
        let observer = std::thread::spawn(move || observe(child, began, &asked));
        Ok(Self { name, stdout, end, observer: Some(observer) })
    }

    /// What it prints, if that was asked for by [`Stdio::piped`]; once.
    pub(super) fn stdout(&mut self) -> Result<ChildStdout> {
        self.stdout.take().with_context(|| format!("`{}` has no stdout", self.name))
    }

    /// Waits for its end.
    pub(super) fn finish(mut self) -> Result<Finished> {
        self.join()
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<Finished> {
        self.end.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<Finished> {
        let observer = self.observer.take().context("it was waited for already")?;
        match observer.join() {
            Ok(finished) => finished.with_context(|| format!("`{}` did not end well", self.name)),
            Err(_) => bail!("`{}` was lost sight of", self.name),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.observer.is_some() {
            self.end.store(true, Ordering::Relaxed);
            let _ = self.join();
        }
    }
}

/// Looks at a process until it ends, or has to.
fn observe(mut child: Child, began: Instant, end: &AtomicBool) -> Result<Finished> {
    let mut usage = Usage::default();
    let mut outcome = Ok(());
    let status: ExitStatus = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        usage = Usage::of(child.id(), usage);
        let elapsed = began.elapsed();
        if outcome.is_ok() && elapsed > PATIENCE {
            outcome = Err(anyhow::anyhow!("it took longer than {} s", PATIENCE.as_secs()));
        }
        if outcome.is_ok() {
            outcome = patience::interrupted();
        }
        if outcome.is_err() || end.load(Ordering::Relaxed) {
            let _ = child.kill();
        }
        // A hundredth of what it has taken so far is as exact as anybody needs.
        std::thread::park_timeout((elapsed / 100).clamp(Duration::from_micros(50), PACE));
    };
    let seconds = began.elapsed().as_secs_f64();
    outcome?;
    let Usage { cpu_seconds, peak_mb } = usage;
    Ok(Finished { success: status.success(), seconds, cpu_seconds, peak_mb })
}

#[derive(Clone, Copy, Default)]
struct Usage {
    cpu_seconds: Option<f64>,
    peak_mb: Option<f64>,
}

impl Usage {
    /// What it has used by now, after what it had used `before`. A process that is about to end shows no memory.
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

fn cpu_seconds(pid: u32) -> Option<f64> {
    // The kernel counts in clock ticks, 100 a second on every Linux (USER_HZ).
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let (user, system): (f64, f64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn peak_mb(pid: u32) -> Option<f64> {
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
        assert!(!finish(&mut Command::new("false")).unwrap().success);
        let (run, said) = answer(Command::new("sh").args(["-c", "echo hello; sleep 0.05"])).unwrap();
        assert_eq!(said, "hello\n");
        assert!(run.seconds >= 0.05 && (!cfg!(target_os = "linux") || run.peak_mb.unwrap() > 0.1), "{run:?}");
        let failed = succeed(&mut Command::new("false")).unwrap_err();
        assert_eq!(failed.to_string(), "`false` failed");
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let began = Instant::now();
        drop(Running::start(Command::new("sleep").arg("600")).unwrap());
        let ended = Running::start(Command::new("sleep").arg("600")).unwrap().end().unwrap();
        assert!(!ended.success && began.elapsed() < Duration::from_secs(500));
    }
}
