//! Starts a run's keeper: a process of `etcd-console` that registers the run, keeps it alive and sweeps it, also if this process
//! is killed. This module also exchanges messages with the keeper, and replaces a keeper that dies.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etcd_workspace::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{AlreadyReported, Failure};
use crate::{child, console};

/// How long a keeper may take to connect and register.
const REGISTER: Duration = Duration::from_secs(30);
/// How long a sweep may take: millions of keys take minutes.
const SWEEP: Duration = Duration::from_secs(600);
/// How long it may take to read what happened to keys: longer than the keeper waits.
const TIMELINE: Duration = Duration::from_secs(40);
/// How long the keeper may take to end after the sweep.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many times a dead keeper is replaced, and how soon after its start.
const MAX_KEEPERS: u32 = 5;
const RETRY: Duration = Duration::from_secs(1);
/// The limit of a command that is shown, in characters. Linux allows 128 KiB in one argument, Windows 32 KiB in all.
const SHOWN: usize = 2000;

/// A message of the keeper: see `keep` in etcd-console.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeeperMessage {
    Registered(Registered),
    Lost,
    Timeline { text: String },
    Ended(Box<Ended>),
}

/// A run that is registered.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Registered {
    /// Its id.
    pub(crate) run: String,
    /// The prefix of its keys.
    pub(crate) prefix: String,
    lock: PathBuf,
    /// The environment variables for its processes.
    pub(crate) variables: Vec<(String, String)>,
}

/// The result of a run.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Ended {
    /// The number of deleted keys.
    pub(crate) keys: u64,
    /// Whether some of its processes are still running.
    pub(crate) stragglers: bool,
    /// Whether another process had swept the run.
    pub(crate) lost: bool,
    /// What changed outside of all runs. `None`: the keeper was not asked, or cannot tell.
    pub(crate) escapes: Option<Escapes>,
    /// What else is left. The same.
    pub(crate) leaks: Option<Leaks>,
    /// What each sandbox has written. The same.
    pub(crate) sandboxes: Option<Vec<SandboxSummary>>,
}

/// What one sandbox has written.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SandboxSummary {
    /// The name that it was opened with, and a random part.
    pub(crate) name: String,
    pub(crate) changes: u64,
    /// How often a key was created.
    pub(crate) keys: u64,
    /// The revisions of the first and the last change.
    pub(crate) revisions: (i64, i64),
}

/// What changed outside of all runs while a run was there.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Escapes {
    /// The number of changes.
    pub(crate) changes: u64,
    /// Some of the keys.
    pub(crate) keys: Vec<String>,
    /// The first and the last revision that were looked at.
    pub(crate) revisions: (i64, i64),
}

/// What the tests of a run have left, beside keys: see `etcd_sandbox::runs::Leaks`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Leaks {
    /// The number of leases with keys of the run, without those of locks.
    pub(crate) leases: u64,
    /// The number of locks and elections.
    pub(crate) locks: u64,
    /// The number of leases without keys, which others may have been granted.
    pub(crate) without_keys: u64,
    /// Some of each kind.
    pub(crate) named: Vec<LeftLease>,
    /// The processes that went on, with their pids. Empty where the system does not tell.
    pub(crate) processes: Vec<String>,
}

/// A lease that is left.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct LeftLease {
    pub(crate) id: String,
    /// In seconds, as it was granted.
    pub(crate) ttl: u64,
    /// The number of its keys in the run.
    pub(crate) keys: u64,
    /// The first of these keys, or the name of the lock.
    pub(crate) key: String,
    pub(crate) is_lock: bool,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    Sweep,
    Keep,
}

/// How to start the keepers of a run.
pub(crate) struct KeeperConfig {
    /// `etcd-console`.
    pub(crate) program: PathBuf,
    /// How etcd is reached.
    pub(crate) client: ClientConfig,
    /// Whether the environment says so.
    pub(crate) is_of_environment: bool,
    /// The flags with which other commands use the same etcd, with a space before them.
    pub(crate) flag: String,
    /// The directory of the run's lock.
    pub(crate) lock_dir: PathBuf,
    /// The command of the run, to be shown.
    pub(crate) command: String,
    /// When the run gets a user of its own.
    pub(crate) fence: &'static str,
    /// Whether to look for changes outside of all runs.
    pub(crate) escapes: bool,
    /// Whether to look for leases and locks that are left.
    pub(crate) leaks: bool,
    /// The directory for the reports of runs, if there is to be one of this run.
    pub(crate) reports: Option<PathBuf>,
    /// Whether etcd ends with this process, and all keys are lost.
    pub(crate) ephemeral: bool,
}

/// A run, with a keeper.
pub(crate) struct Keeper {
    config: KeeperConfig,
    /// The arguments that describe the workspace.
    settings: Vec<OsString>,
    process: Process,
    run: Registered,
    /// The run's lock, which the keeper and each test hold, too. While one of them lives, the run does not count as dead.
    lock: Option<std::fs::File>,
    lives: u32,
    /// Why the last keeper could not be started.
    problem: Option<String>,
    given_up: bool,
    lost: bool,
}

impl Keeper {
    /// Registers a run.
    pub(crate) fn start(config: KeeperConfig, cx: &Context) -> Result<Self> {
        let settings = console::settings(cx)?;
        let mut process = Process::start(&config, &settings, None, cx)?;
        let run = process.registered(&config.flag)?;
        let lock = std::fs::File::open(&run.lock).with_context(|| format!("cannot open `{}`", run.lock.display()))?;
        lock.try_lock_shared().with_context(|| format!("cannot hold `{}`", run.lock.display()))?;
        Ok(Self {
            config,
            settings,
            process,
            run,
            lock: Some(lock),
            lives: MAX_KEEPERS,
            problem: None,
            given_up: false,
            lost: false,
        })
    }

    /// The run.
    pub(crate) fn run(&self) -> &Registered {
        &self.run
    }

    /// To be called while the tests run. Replaces a dead keeper, and reports once if the run is lost. Does not wait, because
    /// etcd may not answer now, and a run whose lock is held is not swept on this machine.
    pub(crate) fn look_after(&mut self, cx: &Context) {
        match self.process.lines.try_recv() {
            Ok(KeeperMessage::Lost) => {
                self.lost = true;
                cx.output
                    .warn("another process has deleted this run's keys: the results of its tests are not reliable");
            }
            Ok(_) | Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) if !self.lost && self.process.began.elapsed() > RETRY => self.replace(cx),
            Err(TryRecvError::Disconnected) => {}
        }
    }

    /// Replaces a dead keeper. If each new keeper dies, reports that once.
    fn replace(&mut self, cx: &Context) {
        if self.lives == 0 {
            if !std::mem::replace(&mut self.given_up, true) {
                let why = self.problem.as_deref().unwrap_or("it ends each time");
                cx.output.warn(format_args!(
                    "this run has no keeper any more ({why}): a `test-clean` on another machine may take it for dead"
                ));
            }
            return;
        }
        self.lives -= 1;
        match Process::start(&self.config, &self.settings, Some(&self.run.run), cx) {
            Ok(process) => (self.process, self.problem) = (process, None),
            Err(error) => (self.process.began, self.problem) = (Instant::now(), Some(format!("{error:#}"))),
        }
    }

    /// Lets the keeper end the remaining processes of the command: background processes of a shell do not get Ctrl-C.
    pub(crate) fn end_the_rest(&mut self) {
        self.process.say("interrupted");
    }

    /// What happened to the keys of a sandbox, or of the whole run if the name is empty. Its report gets all of it. `None`: the
    /// keeper does not answer.
    pub(crate) fn timeline(&mut self, sandbox: &str) -> Option<String> {
        self.process.say(&format!("timeline {sandbox}"));
        loop {
            match self.process.lines.recv_timeout(TIMELINE).ok()? {
                KeeperMessage::Timeline { text } => return Some(text),
                KeeperMessage::Lost => self.lost = true,
                _ => {}
            }
        }
    }

    /// Ends the run.
    pub(crate) fn end(mut self, at_end: AtEnd, cx: &Context) -> Result<Ended> {
        self.look_after(cx);
        let flag = &self.config.flag;
        // Otherwise the keeper would wait until this process ends.
        drop(self.lock.take());
        self.process.say(match at_end {
            AtEnd::Sweep => "sweep",
            AtEnd::Keep => "keep",
        });
        loop {
            match self.process.lines.recv_timeout(SWEEP) {
                Ok(KeeperMessage::Ended(ended)) => {
                    self.process.reap();
                    return Ok(*ended);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("the run's keys were not deleted within {} s", SWEEP.as_secs());
                    return Err(Failure::of(what, format!("`cargo xtask test-clean{flag}` deletes the rest")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let next =
                        format!("`cargo xtask test-clean{flag}` does it once etcd answers, and lets the user in");
                    return Err(Failure::of("the run could not be swept", next));
                }
            }
        }
    }
}

/// The beginning of a command, to be shown.
fn shown(command: &str) -> String {
    let mut rest = command.chars();
    let mut shown: String = rest.by_ref().take(SHOWN).collect();
    shown.extend(rest.next().map(|_| '…'));
    shown
}

/// One keeper process.
struct Process {
    child: Child,
    lines: Receiver<KeeperMessage>,
    began: Instant,
}

impl Process {
    fn start(config: &KeeperConfig, settings: &[OsString], adopt: Option<&str>, cx: &Context) -> Result<Self> {
        let mut command = cx.command(&config.program);
        command.args(settings);
        // All but the endpoints by variables: no password is to be among arguments.
        for name in ClientConfig::VARIABLES {
            command.env_remove(name);
        }
        command.envs(config.client.variables());
        if !config.is_of_environment {
            command.args(["--endpoints", &config.client.endpoints.join(",")]);
        }
        command.arg("keep").arg("--lock-dir").arg(&config.lock_dir);
        command.args(["--runner", &std::process::id().to_string(), "--command", &shown(&config.command)]);
        command.args(["--fence", config.fence]);
        for (flag, is_wanted) in [("--escapes", config.escapes), ("--leaks", config.leaks)] {
            command.args(is_wanted.then_some(flag));
        }
        if let Some(reports) = &config.reports {
            command.arg("--reports").arg(reports);
        }
        if config.ephemeral {
            // Without this process, etcd ends as well.
            command.args(["--sweep-timeout", "0"]);
        }
        if let Some(run) = adopt {
            // It fails while etcd does not answer, which the user already knows.
            command.args(["--adopt", run]).stderr(Stdio::null());
        }
        // It must sweep after Ctrl-C.
        child::ignore_terminal_signals(&mut command);
        etcd_local::hand_over_stdio_only(&mut command).context("cannot start the keeper")?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the keeper")?;
        let out = child.stdout.take().context("the keeper has no stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|message| sender.send(message))
        });
        Ok(Self { child, lines, began: Instant::now() })
    }

    /// Waits until the run is registered.
    fn registered(&mut self, flag: &str) -> Result<Registered> {
        match self.lines.recv_timeout(REGISTER) {
            Ok(KeeperMessage::Registered(run)) => Ok(run),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended_early()),
            _ => {
                let what = format!("no run could be registered within {} s", REGISTER.as_secs());
                Err(Failure::of(what, format!("`cargo xtask member list{flag}` shows whether etcd answers")))
            }
        }
    }

    /// The error for a keeper that sent no message. A keeper that failed has reported the error on stderr. A program that ends
    /// otherwise, or closes its stdout, is not a keeper.
    fn ended_early(&mut self) -> anyhow::Error {
        let how = match child::ended_within(EXIT_TIMEOUT, &mut self.child) {
            Some(status) if status.code().is_some_and(|code| code != 0) => {
                return AlreadyReported(Exit::of_child(status)).into();
            }
            Some(status) => format!("ended ({status})"),
            None => {
                drop(self.child.kill().and_then(|()| self.child.wait()));
                "closed its output".to_owned()
            }
        };
        let next =
            "`cargo xtask doctor` checks this machine; ETCD_CONSOLE, if set, must name this version's etcd-console";
        Failure::of(format!("the keeper {how} before it registered a run"), next)
    }

    /// Waits a moment for a keeper to end after its last message.
    fn reap(&mut self) {
        drop(self.child.stdin.take());
        while self.lines.recv_timeout(EXIT_TIMEOUT).is_ok() {}
        child::ended_within(EXIT_TIMEOUT, &mut self.child);
    }

    fn say(&mut self, word: &str) {
        // If the keeper is dead, its missing answer is noticed.
        if let Some(stdin) = &mut self.child.stdin {
            drop(stdin.write_all(format!("{word}\n").as_bytes()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of stdin makes the keeper sweep, if it has not. This does not wait for it.
        drop(self.child.stdin.take());
        drop(self.child.try_wait());
    }
}
