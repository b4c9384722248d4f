//! Servers as processes: spawned here, recognised here, ended here and nowhere else. Never signals a pid
//! that it has not just proved to mean the same process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use etcd_workspace::Identity;

use crate::env::Env;
use crate::os::{self, Lifetime};

/// A live process, held so that its pid stays its own.
#[derive(Debug)]
pub struct Running {
    process: os::Process,
    pub identity: Identity,
}

impl Running {
    /// The process that has this pid now; `None` if there is none.
    pub fn with_pid(pid: u32) -> io::Result<Option<Self>> {
        let Some(process) = os::Process::open(pid)? else { return Ok(None) };
        Ok(process.identity()?.map(|identity| Self { process, identity }))
    }

    /// The process that was recorded; `None` if it has ended, even if another process has its pid now.
    pub fn recorded(identity: &Identity) -> io::Result<Option<Self>> {
        Ok(Self::with_pid(identity.pid)?.filter(|running| running.identity == *identity))
    }

    /// Whether it is gone. A process that cannot be asked counts as living.
    pub fn has_ended(&self) -> bool {
        self.process.ended_within(Duration::ZERO).unwrap_or(false)
    }

    /// Asks for the end, waits for `grace`, then insists.
    ///
    /// # Errors
    /// `TimedOut` if the process outlives even that: it hangs in the kernel.
    pub fn stop(&self, grace: Duration) -> io::Result<()> {
        self.process.terminate()?;
        if self.process.ended_within(grace)? {
            return Ok(());
        }
        self.kill()
    }

    /// Ends it without asking.
    pub fn kill(&self) -> io::Result<()> {
        const INSIST: Duration = Duration::from_secs(10);
        self.process.kill()?;
        if self.process.ended_within(INSIST)? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// What to spawn.
pub struct Spawn<'a> {
    pub program: &'a Path,
    pub args: Vec<String>,
    /// The lock that the child inherits, as its standard input: held exactly as long as the child lives.
    pub lock: File,
    pub log: File,
    pub env: &'a Env,
    pub lifetime: Lifetime,
}

/// What became of a spawn.
pub enum Spawned {
    Running(Child),
    /// It was gone before anybody could look at it.
    Ended(ExitStatus),
}

/// A server that we spawned.
#[derive(Debug)]
pub struct Child {
    pub running: Running,
    exit: Receiver<ExitStatus>,
    exited: Option<ExitStatus>,
}

impl Child {
    /// Waits at most `timeout` for the child's end.
    pub fn exited_within(&mut self, timeout: Duration) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.exit.recv_timeout(timeout).ok();
        }
        self.exited
    }
}

/// Spawns a server. A thread of its own spawns and reaps it: Linux ties a child to the thread that spawned
/// it, and a caller that lives long must not collect zombies.
pub fn spawn(spawn: Spawn<'_>) -> io::Result<Spawned> {
    let mut command = Command::new(spawn.program);
    command.args(&spawn.args);
    command.env_clear().envs(spawn.env.vars());

    let (started, start) = channel();
    let (exiting, exit) = channel();
    let Spawn { lock, log, lifetime, .. } = spawn;
    std::thread::Builder::new().name("etcd-keeper".to_owned()).spawn(move || {
        let mut server = match os::spawn_server(command, lock, log, lifetime) {
            Ok(server) => server,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        // Opened before it is reaped, so that the pid is still the child's.
        let running = Running::with_pid(server.id());
        if !matches!(running, Ok(Some(_))) {
            // It has ended, or it cannot be identified, and could never be stopped later.
            let _ = server.kill();
        }
        // The receivers may be gone: the child is reaped all the same.
        let _ = started.send(running);
        if let Ok(status) = server.wait() {
            let _ = exiting.send(status);
        }
    })?;
    // The thread always sends: it cannot hang before the child runs, only fail.
    let running = start.recv().map_err(io::Error::other)??;
    match running {
        Some(running) => Ok(Spawned::Running(Child { running, exit, exited: None })),
        None => Ok(Spawned::Ended(exit.recv_timeout(REAPED).map_err(io::Error::other)?)),
    }
}

/// How long the system may take to hand over the status of a process that has ended.
const REAPED: Duration = Duration::from_secs(10);
