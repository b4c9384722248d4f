//! Child processes in the terminal. The child handles Ctrl-C first. If it does not end, this process ends it.

use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
#[cfg(unix)]
use etcd_local::ProcessGroup;

use crate::exit::Exit;

/// How long a child may take to end after Ctrl-C before it is signalled again. CI systems give us about the same time.
const GRACE: Duration = Duration::from_secs(5);
/// The interval of checks whether a child has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Replaces this process by another program (Unix).
///
/// # Errors
/// If it cannot be run.
#[cfg(unix)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    use std::os::unix::process::CommandExt as _;

    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", command.get_program().display()))
}

/// Runs another program, waits for it, and returns its exit code: Windows cannot replace a process.
///
/// # Errors
/// If it cannot be run.
#[cfg(windows)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    Interrupts::listen()?.run(command, || ())
}

/// Keeps Ctrl-C in the terminal from this child.
#[cfg(unix)]
pub fn ignore_terminal_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    command.process_group(0);
}

/// Keeps Ctrl-C in the console from this child.
#[cfg(windows)]
pub fn ignore_terminal_signals(command: &mut Command) {
    use std::os::windows::process::CommandExt as _;

    /// `CREATE_NEW_PROCESS_GROUP` of winbase.h.
    const NEW_GROUP: u32 = 0x200;
    command.creation_flags(NEW_GROUP);
}

/// Waits for a child. Returns its exit status, and reaps it, if it ends in time.
pub(crate) fn ended_within(timeout: Duration, child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if began.elapsed() < timeout => std::thread::park_timeout(POLL_INTERVAL),
            ended => return ended.ok().flatten(),
        }
    }
}

/// Catches Ctrl-C, SIGTERM and similar signals while children run. A second interrupt ends this process at once.
pub(crate) struct Interrupts(Arc<InterruptState>);

#[derive(Default)]
struct InterruptState {
    count: AtomicUsize,
    /// Whether the first interrupt ends this process, too.
    breakable: AtomicBool,
}

impl Interrupts {
    /// Installs the signal handler, once per process.
    pub(crate) fn listen() -> Result<Self> {
        static HEARD: OnceLock<Arc<InterruptState>> = OnceLock::new();
        if let Some(heard) = HEARD.get() {
            return Ok(Self(Arc::clone(heard)));
        }
        let this = Self(Arc::default());
        let heard = Arc::clone(&this.0);
        let handler = move || {
            if heard.count.fetch_add(1, SeqCst) > 0 || heard.breakable.load(SeqCst) {
                std::process::exit(Exit::INTERRUPTED.code());
            }
        };
        ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")?;
        Ok(Self(Arc::clone(HEARD.get_or_init(|| this.0))))
    }

    /// Whether there was an interrupt.
    pub(crate) fn any(&self) -> bool {
        self.0.count.load(SeqCst) > 0
    }

    /// Runs `work`, during which an interrupt ends this process at once. For work that leaves nothing behind.
    pub(crate) fn breakable<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.breakable.store(true, SeqCst);
        if self.any() {
            std::process::exit(Exit::INTERRUPTED.code());
        }
        let done = work();
        self.0.breakable.store(false, SeqCst);
        done
    }

    /// Runs a child and waits for its end, without a timeout. After an interrupt, which the child receives as well, the child
    /// has [`GRACE`] to end. If the interrupt came first, the child is not started. Calls `meanwhile` every few milliseconds.
    pub(crate) fn run(&self, command: &mut Command, mut meanwhile: impl FnMut()) -> Result<Exit> {
        if self.any() {
            return Ok(Exit::INTERRUPTED);
        }
        let failed = format!("cannot run `{}`", command.get_program().display());
        let target = InterruptTarget::prepare(command)?;
        let mut child = command.spawn().context(failed)?;
        let (mut interrupted, mut signals) = (None, 0);
        loop {
            if target.has_ended(&mut child)? {
                if self.any() {
                    target.kill(&mut child);
                }
                let status = child.wait()?;
                return Ok(if self.any() { Exit::INTERRUPTED } else { Exit::of_child(status) });
            }
            if self.any() && interrupted.get_or_insert_with(Instant::now).elapsed() >= GRACE * signals {
                target.signal(signals, &mut child);
                signals += 1;
            }
            meanwhile();
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

/// The processes that an interrupt must reach. A terminal signals every process in it. Without a terminal, as in CI, only this
/// process is signalled: the child then gets a process group, which this process signals, and which ends if this process is
/// killed. A `kill` of this process looks the same as Ctrl-C, but the terminal does not signal the child: if the child does not
/// end, it is signalled once more before it is killed.
struct InterruptTarget {
    #[cfg(unix)]
    group: Option<ProcessGroup>,
}

#[cfg(unix)]
impl InterruptTarget {
    fn prepare(command: &mut Command) -> Result<Self> {
        use std::io::IsTerminal as _;

        let has_terminal = std::io::stdin().is_terminal();
        let group = (!has_terminal).then(ProcessGroup::new).transpose().context("cannot make a process group")?;
        group.iter().for_each(|group| group.prepare(command));
        Ok(Self { group })
    }

    /// Whether the child has ended. Does not reap it, so that its pid is not reused.
    fn has_ended(&self, child: &mut Child) -> Result<bool> {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
    }

    /// Ends the child: each call uses a stronger signal.
    fn signal(&self, times: u32, child: &mut Child) {
        use rustix::process::{Pid, Signal, kill_process};

        match (&self.group, times) {
            (Some(group), 0) => group.signal(Signal::INT),
            (None, 0) => {}
            // The child is not reaped, so its pid has not been reused.
            (None, 1) => drop(kill_process(Pid::from_child(child), Signal::TERM)),
            _ => self.kill(child),
        }
    }

    /// Ends the child and the other processes of its group.
    fn kill(&self, child: &mut Child) {
        match &self.group {
            Some(group) => group.signal(rustix::process::Signal::KILL),
            None => drop(child.kill()),
        }
    }
}

/// A console signals all processes in it.
#[cfg(windows)]
impl InterruptTarget {
    #[expect(clippy::unnecessary_wraps, reason = "Unix can fail here")]
    fn prepare(_: &mut Command) -> Result<Self> {
        Ok(Self {})
    }

    fn has_ended(&self, child: &mut Child) -> Result<bool> {
        Ok(child.try_wait()?.is_some())
    }

    fn signal(&self, times: u32, child: &mut Child) {
        if times > 0 {
            self.kill(child);
        }
    }

    fn kill(&self, child: &mut Child) {
        drop(child.kill());
    }
}
