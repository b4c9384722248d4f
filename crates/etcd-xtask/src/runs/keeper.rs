//! A run's keeper, as its runner sees it: a process of `etcd-console` that registers the run, keeps it alive and
//! sweeps it, also when we are killed. Here: starting it, the words that go to and fro, and a new one if it dies.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etcd_workspace::ClientConfig;
use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{AlreadyReported, Failure};
use crate::{child, console};

/// How long a keeper may take to connect and register.
const REGISTER: Duration = Duration::from_secs(30);
/// How long it may take to sweep: millions of keys take minutes.
const SWEEP: Duration = Duration::from_secs(600);
/// How long it may take to end when it has swept.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a keeper that died is replaced, and how soon after it began.
const MAX_KEEPERS: u32 = 5;
const RETRY: Duration = Duration::from_secs(1);
/// How much of a command people are shown, in characters. Linux takes 128 KiB in one argument, Windows 32 KiB in all.
const SHOWN: usize = 2000;

/// What a keeper says: see `keep` of etcd-console.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeeperMessage {
    Registered(Registered),
    Lost,
    Ended(Ended),
}

/// A run that is registered.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Registered {
    /// Its id.
    pub(crate) run: String,
    /// The prefix of its keys.
    pub(crate) prefix: String,
    lock: PathBuf,
    /// What its processes find it by.
    pub(crate) variables: Vec<(String, String)>,
}

/// What became of a run.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Ended {
    /// Keys that were deleted.
    pub(crate) keys: u64,
    /// Whether processes of it go on.
    pub(crate) stragglers: bool,
    /// Whether somebody else had taken it away.
    pub(crate) lost: bool,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    Sweep,
    Keep,
}

/// How keepers of a run are started.
pub(crate) struct KeeperConfig {
    /// `etcd-console`.
    pub(crate) program: PathBuf,
    /// How etcd is reached.
    pub(crate) client: ClientConfig,
    /// Whether the environment says so.
    pub(crate) is_of_environment: bool,
    /// What leads another command there, with a space before it.
    pub(crate) flag: String,
    /// Where the run's lock is to be.
    pub(crate) lock_dir: PathBuf,
    /// What runs, for people.
    pub(crate) command: String,
    /// Whether etcd goes when we do, and all keys with it.
    pub(crate) ephemeral: bool,
}

/// A run, with a keeper.
pub(crate) struct Keeper {
    config: KeeperConfig,
    /// What a keeper is told of the workspace.
    settings: Vec<OsString>,
    process: Process,
    run: Registered,
    /// Ours; the keeper has it, too, and so has each test. As long as one of us lives, nobody takes the run for dead.
    lock: Option<std::fs::File>,
    lives: u32,
    /// Why the last one could not be started.
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

    /// To be called while the tests run: replaces a keeper that died, and tells, once, if the run is lost. Waits for
    /// nothing: etcd may be away just now, and a run whose lock is held is not swept by anybody here meanwhile.
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

    /// A new keeper for one that died, unless it dies each time: that is told, once.
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

    /// Has the keeper end what the command left running: a process in the background of a shell gets no Ctrl-C.
    pub(crate) fn end_the_rest(&mut self) {
        self.process.say("interrupted");
    }

    /// Ends the run.
    pub(crate) fn end(mut self, at_end: AtEnd, cx: &Context) -> Result<Ended> {
        self.look_after(cx);
        let flag = &self.config.flag;
        // Else the keeper would wait for us to end.
        drop(self.lock.take());
        self.process.say(match at_end {
            AtEnd::Sweep => "sweep",
            AtEnd::Keep => "keep",
        });
        loop {
            match self.process.lines.recv_timeout(SWEEP) {
                Ok(KeeperMessage::Ended(ended)) => {
                    self.process.reap();
                    return Ok(ended);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("the run's keys were not deleted within {} s", SWEEP.as_secs());
                    return Err(Failure::of(what, format!("`cargo xtask test-clean{flag}` deletes the rest")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let next = format!("`cargo xtask test-clean{flag}` does it once etcd answers");
                    return Err(Failure::of("the run could not be swept", next));
                }
            }
        }
    }
}

/// The beginning of a command, for people.
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
        if config.ephemeral {
            // Without us there is no etcd either.
            command.args(["--sweep-timeout", "0"]);
        }
        if let Some(run) = adopt {
            // It fails as long as etcd does not answer, which the user knows.
            command.args(["--adopt", run]).stderr(Stdio::null());
        }
        // It has to sweep after it.
        child::ignore_terminal_signals(&mut command);
        etcd_local::hand_over_stdio_only(&mut command).context("cannot start the keeper")?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the keeper")?;
        let out = child.stdout.take().context("the keeper has no stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let said = BufReader::new(out).lines().map_while(Result::ok);
            said.filter_map(|line| serde_json::from_str(&line).ok()).try_for_each(|said| sender.send(said))
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

    /// Why a keeper said nothing. One that failed has told the user on stderr; what else ends, or closes its stdout and
    /// goes on, is none.
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

    /// Waits until a keeper that has said its last word is gone, for a moment at most.
    fn reap(&mut self) {
        drop(self.child.stdin.take());
        while self.lines.recv_timeout(EXIT_TIMEOUT).is_ok() {}
        child::ended_within(EXIT_TIMEOUT, &mut self.child);
    }

    fn say(&mut self, word: &str) {
        // If it is dead, it says nothing, and that is noticed.
        if let Some(stdin) = &mut self.child.stdin {
            drop(stdin.write_all(format!("{word}\n").as_bytes()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its stdin has it sweep, if it did not. It is not waited for: it may take its time.
        drop(self.child.stdin.take());
        drop(self.child.try_wait());
    }
}
