//! A child that has the terminal: it runs to its end, Ctrl-C is its to handle first, and ours to see through.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::exit::Exit;

/// How long a child may take to end after Ctrl-C before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Hears of Ctrl-C, SIGTERM and the like while children run; the second one ends this process at once.
pub(crate) struct Interrupts {
    count: Arc<std::sync::atomic::AtomicUsize>,
    current: Arc<std::sync::Mutex<Option<Sender<Event>>>>,
}

enum Event {
    Interrupted,
    Ended,
}

impl Interrupts {
    /// Starts listening. At most once a process.
    pub(crate) fn listen() -> Result<Self> {
        use std::sync::atomic::Ordering::SeqCst;

        let this = Self { count: Arc::default(), current: Arc::default() };
        let (count, current) = (Arc::clone(&this.count), Arc::clone(&this.current));
        ctrlc::set_handler(move || {
            if count.fetch_add(1, SeqCst) > 0 {
                std::process::exit(130);
            }
            if let Ok(current) = current.lock()
                && let Some(current) = &*current
            {
                let _ = current.send(Event::Interrupted);
            }
        })
        .context("cannot watch for Ctrl-C")?;
        Ok(this)
    }

    /// Whether there was one.
    pub(crate) fn any(&self) -> bool {
        self.count.load(std::sync::atomic::Ordering::SeqCst) > 0
    }

    /// Runs a child to its end. After an interrupt, which a terminal sends to the child as well, it has a
    /// while to end by itself.
    pub(crate) fn run(&self, command: &duct::Expression) -> Result<Exit> {
        let (events, happened) = channel();
        if let Ok(mut current) = self.current.lock() {
            *current = Some(events.clone());
        }
        let child = Arc::new(command.unchecked().start().with_context(|| format!("cannot run {command:?}"))?);
        let waiter = Arc::clone(&child);
        std::thread::spawn(move || {
            let _ = waiter.wait();
            let _ = events.send(Event::Ended);
        });
        if matches!(happened.recv(), Ok(Event::Interrupted)) {
            let ended = happened.recv_timeout(GRACE);
            if ended.is_err() {
                child.kill().context("cannot end the interrupted child")?;
            }
        }
        let output = child.wait()?;
        Ok(if self.any() { Exit::INTERRUPTED } else { Exit::of_child(output.status) })
    }
}

/// Runs one child with more variables.
pub(crate) fn run(command: duct::Expression, vars: impl Iterator<Item = (&'static str, String)>) -> Result<Exit> {
    let command = vars.fold(command, |command, (name, value)| command.env(name, value));
    Interrupts::listen()?.run(&command)
}
