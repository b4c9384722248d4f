//! A helper while it runs: its pipes are read, and it is killed and reaped when nobody waits for it any more.

use std::io::{self, Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::os;
use crate::wait::{self, Deadline};

/// How long a killed helper may take to go away before we stop waiting for it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A child that does not outlive this value.
pub(super) struct Running {
    child: Child,
    status: Option<ExitStatus>,
    /// Ends it with us where [`os::tie_to_owner`] cannot.
    _tie: Option<os::Tie>,
}

impl Running {
    pub(super) fn new(child: Child) -> io::Result<Self> {
        let mut running = Self { child, status: None, _tie: None };
        running._tie = Some(os::Tie::new(&running.child)?);
        Ok(running)
    }

    pub(super) fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Writes the child's input on a thread of its own: it need not read it.
    pub(super) fn feed(&mut self, input: &str) -> io::Result<()> {
        let Some(mut stdin) = self.child.stdin.take() else { return Ok(()) };
        let input = input.to_owned();
        let write = move || drop(stdin.write_all(input.as_bytes()));
        std::thread::Builder::new().name("helper-input".to_owned()).spawn(write).map(drop)
    }

    /// Reads both pipes on threads of their own, so that neither can fill up and block the child.
    pub(super) fn drain(&mut self) -> io::Result<Receiver<Piece>> {
        let (sender, pieces) = sync_channel(16);
        if let Some(stdout) = self.child.stdout.take() {
            drain(stdout, Piece::Out, sender.clone())?;
        }
        if let Some(stderr) = self.child.stderr.take() {
            drain(stderr, Piece::Err, sender)?;
        }
        Ok(pieces)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.look(), Ok(Some(_))) {
            return;
        }
        // Not reaped yet, so the group id is still its own.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        let _ = self.child.kill();
        let _ = wait::until(Deadline::after(KILL_PATIENCE), || self.look());
    }
}

pub(super) enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

fn drain(mut pipe: impl Read + Send + 'static, wrap: fn(Vec<u8>) -> Piece, to: SyncSender<Piece>) -> io::Result<()> {
    let read_all = move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    let piece = buffer.get(..count).unwrap_or_default().to_vec();
                    if to.send(wrap(piece)).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("helper-output".to_owned()).spawn(read_all).map(drop)
}
