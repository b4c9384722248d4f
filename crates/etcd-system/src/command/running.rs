//! A running helper program: reads both of its pipes, and kills it when it is dropped.

use std::io::{self, PipeReader, Read as _};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::os;
use crate::wait::{self, Deadline};

/// How long a killed helper may take to go away before we stop waiting for it.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a program that was just written may still be open for writing in a child that another thread forked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A helper that does not outlive this value, nor our process.
pub(super) struct RunningHelper {
    handle: duct::Handle,
    group: Arc<os::ProcessGroup>,
}

impl RunningHelper {
    /// Starts the program, and hands back what it prints as it comes.
    pub(super) fn start(program: &duct::Expression) -> io::Result<(Self, Receiver<Piece>)> {
        let group = Arc::new(os::ProcessGroup::new()?);
        let ((out, stdout), (err, stderr)) = (io::pipe()?, io::pipe()?);
        let (sender, pieces) = sync_channel(16);
        forward(out, Piece::Out, sender.clone())?;
        forward(err, Piece::Err, sender)?;
        let member = Arc::clone(&group);
        // The pipes' ends that it writes to are closed on our side with this expression.
        let program = program.stdout_file(stdout).stderr_file(stderr).unchecked().before_spawn(move |command| {
            member.prepare(command);
            os::hand_over_stdio_only(command)
        });
        let started = wait::until(Deadline::after(BUSY_TIMEOUT), || match program.start() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => Ok(None),
            started => started.map(Some),
        });
        let handle = started?.ok_or(io::ErrorKind::ExecutableFileBusy)?;
        let running = Self { handle, group };
        running.group.add(&running.handle.pids())?;
        Ok((running, pieces))
    }

    pub(super) fn status(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.handle.try_wait()?.map(|output| output.status))
    }
}

impl Drop for RunningHelper {
    fn drop(&mut self) {
        if matches!(self.status(), Ok(Some(_))) {
            return;
        }
        self.group.kill();
        let _ = self.handle.kill();
        let _ = wait::until(Deadline::after(KILL_TIMEOUT), || self.status());
    }
}

/// Some bytes that a helper printed.
pub(super) enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Reads a pipe on a thread of its own, so that it cannot fill up and block the helper.
fn forward(mut pipe: PipeReader, wrap: fn(Vec<u8>) -> Piece, to: SyncSender<Piece>) -> io::Result<()> {
    let forward = move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(count @ 1..) if to.send(wrap(buffer.get(..count).unwrap_or_default().to_vec())).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    };
    std::thread::Builder::new().name("helper-output".to_owned()).spawn(forward).map(drop)
}
