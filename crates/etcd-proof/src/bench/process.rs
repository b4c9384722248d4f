//! One process measured from outside: time, processor, memory. Linux shows them in `/proc` while it runs;
//! elsewhere only the time is known.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What a finished process took.
pub(super) struct Finished {
    pub(super) success: bool,
    pub(super) seconds: f64,
    /// Processor time in user mode; 0 where it is not known.
    pub(super) user_seconds: f64,
    /// The most memory it held; 0 where it is not known.
    pub(super) peak_mb: f64,
}

#[derive(Clone, Copy, Default)]
struct Usage {
    user_seconds: f64,
    peak_mb: f64,
}

/// A process under observation.
pub(super) struct Running {
    child: Child,
    began: Instant,
    over: Arc<AtomicBool>,
    observer: Option<JoinHandle<Usage>>,
}

/// Runs a command to its end.
pub(super) fn finish(command: &mut Command) -> Result<Finished> {
    Running::start(command.stdin(Stdio::null()))?.finish()
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let began = Instant::now();
        let failed = format!("cannot run `{}`", command.get_program().display());
        let child = command.spawn().context(failed)?;
        let (pid, over) = (child.id(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&over);
        let observer = std::thread::spawn(move || {
            let mut usage = Usage::default();
            while let Some(now) = Usage::of(pid).filter(|_| !ended.load(Ordering::Relaxed)) {
                usage = Usage { user_seconds: now.user_seconds, peak_mb: f64::max(usage.peak_mb, now.peak_mb) };
                std::thread::park_timeout(Duration::from_millis(2));
            }
            usage
        });
        Ok(Self { child, began, over, observer: Some(observer) })
    }

    pub(super) fn finish(&mut self) -> Result<Finished> {
        let status = self.child.wait()?;
        let seconds = self.began.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        let usage = self.observer.take().and_then(|observer| observer.join().ok()).unwrap_or_default();
        let Usage { user_seconds, peak_mb } = usage;
        Ok(Finished { success: status.success(), seconds, user_seconds, peak_mb })
    }

    /// Ends it first.
    pub(super) fn end(&mut self) -> Result<Finished> {
        self.child.kill()?;
        self.finish()
    }
}

impl Usage {
    fn of(pid: u32) -> Option<Self> {
        // The kernel counts in clock ticks, 100 a second on every Linux (USER_HZ).
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let user: f64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(11)?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self { user_seconds: user / TICKS, peak_mb: kilobytes / 1024.0 })
    }
}
