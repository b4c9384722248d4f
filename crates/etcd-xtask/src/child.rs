//! A child that has the terminal: it runs to its end, Ctrl-C is its to handle first, and ours to see through.

use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
#[cfg(unix)]
use etcd_local::ProcessGroup;

use crate::exit::Exit;

/// How long a child may take to end after Ctrl-C before it is told more plainly: CI systems give about as long to us.
const GRACE: Duration = Duration::from_secs(5);
/// How often a child is asked whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Becomes another program: on Unix in this very process, so that signals and memory are its own.
///
/// # Errors
/// If it cannot be run.
#[cfg(unix)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    use std::os::unix::process::CommandExt as _;

    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", command.get_program().display()))
}

/// Becomes another program, as far as Windows allows: it runs, and this one waits and passes its code on.
///
/// # Errors
/// If it cannot be run.
#[cfg(windows)]
pub fn become_program(command: &mut Command) -> Result<Exit> {
    Interrupts::listen()?.run(command, || ())
}

/// Ctrl-C in a terminal is not for this child.
#[cfg(unix)]
pub fn ignore_terminal_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;

    command.process_group(0);
}

/// Ctrl-C in a console is not for this child.
#[cfg(windows)]
pub fn ignore_terminal_signals(command: &mut Command) {
    use std::os::windows::process::CommandExt as _;

    /// `CREATE_NEW_PROCESS_GROUP` of winbase.h.
    const NEW_GROUP: u32 = 0x200;
    command.creation_flags(NEW_GROUP);
}

/// How a child ended, if it does so in time. It is reaped then.
pub(crate) fn ended_within(timeout: Duration, child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if began.elapsed() < timeout => std::thread::park_timeout(POLL_INTERVAL),
            ended => return ended.ok().flatten(),
        }
    }
}

/// Hears of Ctrl-C, SIGTERM and the like while children run; the second one ends this process at once.
pub(crate) struct Interrupts(Arc<Heard>);

#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    /// Whether the first one ends this process, too.
    breakable: AtomicBool,
}

impl Interrupts {
    /// Starts listening, unless this process does already.
    pub(crate) fn listen() -> Result<Self> {
        static HEARD: OnceLock<Arc<Heard>> = OnceLock::new();
        if let Some(heard) = HEARD.get() {
            return Ok(Self(Arc::clone(heard)));
        }
        let this = Self(Arc::default());
        let heard = Arc::clone(&this.0);
        let hear = move || {
            if heard.count.fetch_add(1, SeqCst) > 0 || heard.breakable.load(SeqCst) {
                std::process::exit(Exit::INTERRUPTED.code());
            }
        };
        ctrlc::set_handler(hear).context("cannot watch for Ctrl-C")?;
        Ok(Self(Arc::clone(HEARD.get_or_init(|| this.0))))
    }

    /// Whether there was one.
    pub(crate) fn any(&self) -> bool {
        self.0.count.load(SeqCst) > 0
    }

    /// Does what leaves nothing behind, wherever it is broken off: an interrupt ends this process at once.
    pub(crate) fn breakable<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.breakable.store(true, SeqCst);
        if self.any() {
            std::process::exit(Exit::INTERRUPTED.code());
        }
        let done = work();
        self.0.breakable.store(false, SeqCst);
        done
    }

    /// Runs a child to its end, however long that takes. After an interrupt, which the child hears of as well, it has
    /// [`GRACE`] to end by itself. If the interrupt came first, the child is not started. Calls `meanwhile` every few
    /// milliseconds.
    pub(crate) fn run(&self, command: &mut Command, mut meanwhile: impl FnMut()) -> Result<Exit> {
        if self.any() {
            return Ok(Exit::INTERRUPTED);
        }
        let failed = format!("cannot run `{}`", command.get_program().display());
        let target = InterruptTarget::prepare(command)?;
        let mut child = command.spawn().context(failed)?;
        let (mut interrupted, mut told) = (None, 0);
        loop {
            if target.has_ended(&mut child)? {
                if self.any() {
                    target.kill(&mut child);
                }
                let status = child.wait()?;
                return Ok(if self.any() { Exit::INTERRUPTED } else { Exit::of_child(status) });
            }
            if self.any() && interrupted.get_or_insert_with(Instant::now).elapsed() >= GRACE * told {
                target.tell(told, &mut child);
                told += 1;
            }
            meanwhile();
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

/// What hears of an interrupt. A terminal tells every process in it. Without a terminal, as in CI, only this process is
/// told: its child gets a process group, which we signal, and which ends if we are killed. A `kill` of this process looks
/// the same from here, but no terminal tells the child of it: a child that goes on is signalled once more before it is
/// killed.
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

    /// Whether the child has ended. It is not reaped: its pid stays its own.
    fn has_ended(&self, child: &mut Child) -> Result<bool> {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
    }

    /// Has the child end, more plainly each time.
    fn tell(&self, times: u32, child: &mut Child) {
        use rustix::process::{Pid, Signal, kill_process};

        match (&self.group, times) {
            (Some(group), 0) => group.signal(Signal::INT),
            (None, 0) => {}
            // It is not reaped, so that its pid is still its own.
            (None, 1) => drop(kill_process(Pid::from_child(child), Signal::TERM)),
            _ => self.kill(child),
        }
    }

    /// Ends the child, and what it left in its group.
    fn kill(&self, child: &mut Child) {
        match &self.group {
            Some(group) => group.signal(rustix::process::Signal::KILL),
            None => drop(child.kill()),
        }
    }
}

/// A console tells all that runs in it.
#[cfg(windows)]
impl InterruptTarget {
    #[expect(clippy::unnecessary_wraps, reason = "Unix can fail here")]
    fn prepare(_: &mut Command) -> Result<Self> {
        Ok(Self {})
    }

    fn has_ended(&self, child: &mut Child) -> Result<bool> {
        Ok(child.try_wait()?.is_some())
    }

    fn tell(&self, times: u32, child: &mut Child) {
        if times > 0 {
            self.kill(child);
        }
    }

    fn kill(&self, child: &mut Child) {
        drop(child.kill());
    }
}
