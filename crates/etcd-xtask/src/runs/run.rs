//! `run`, and the parts that `test` shares with it: chooses an etcd, registers a run with a keeper, runs commands, sweeps the
//! keys, and prints a line with the result.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use etcd_workspace::ClientConfig;
use tempfile::TempDir;

use crate::build::{on_demand, protoc, rebuild};
use crate::child::Interrupts;
use crate::cli::{Deny, Run, RunTarget};
use crate::console;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::each_version::{self, Attempt};
use crate::runs::escapes;
use crate::runs::github;
use crate::runs::keeper::{AtEnd, Ended, Keeper, KeeperConfig};
use crate::runs::leaks;
use crate::runs::report::{Facts, Report, Reports, Subject};
use crate::runs::server::Server;
use crate::runs::test_results::TestResults;
use crate::runs::unexplained;

pub(crate) fn run(args: &Run, cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    let interrupts = Interrupts::listen()?;
    let (program, rest) = args.command.split_first().context("there is no command to run")?;
    // Nothing is started for a missing program.
    let program = find_program(program, cx)?;
    let words: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
    let reports = match args.report.as_deref() {
        Some(dir) => Reports::choose(Some(dir), cx)?,
        None => None,
    };
    each_version::on_each(args.target.versions(), &interrupts, cx, |attempt| {
        let line = command_line(
            "run",
            args.target.flags(attempt.wanted),
            iter::once("--").chain(words.iter().map(|word| &**word)),
        );
        let commands = RunCommand { shown: words.join(" "), line };
        let mut session = RunSession::open(&args.target, attempt, commands, reports.as_ref(), &interrupts, cx)?;
        let mut command = cx.users_command(&program);
        protoc::lead(command.args(rest), cx);
        let exit = session.run_command(&mut command, &interrupts, cx);
        session.close(exit, Subject::Command, None, cx)
    })
}

/// A command of ours, as a shell wants it.
pub(crate) fn command_line<W: AsRef<str>>(
    command: &str,
    flags: Vec<String>,
    args: impl IntoIterator<Item = W>,
) -> String {
    let quoted = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+^".contains(c);
        match word {
            "" => "''".to_owned(),
            word if word.chars().all(is_plain) => word.to_owned(),
            word => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    let mut line = format!("cargo xtask {command}");
    for word in flags.iter().map(|flag| quoted(flag)).chain(args.into_iter().map(|word| quoted(word.as_ref()))) {
        line.push(' ');
        line.push_str(&word);
    }
    line
}

fn find_program(program: &OsStr, cx: &Context) -> Result<PathBuf> {
    etcd_local::all_on_path(&cx.env, program).into_iter().next().ok_or_else(|| {
        let what = format!("there is no program `{}`", program.display());
        let next = "CMD of `cargo xtask run -- CMD ARGS…` must be a program on PATH, or a path";
        Failure::with_exit(Exit::USAGE, what, next)
    })
}

/// When to keep the keys of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Never,
    Failed,
    Always,
}

impl Keep {
    fn of(args: &RunTarget) -> Self {
        match (args.keep, args.keep_failed) {
            (true, _) => Self::Always,
            (_, true) => Self::Failed,
            _ => Self::Never,
        }
    }
}

/// What runs inside a run.
pub(crate) struct RunCommand {
    /// As the list of runs shows it.
    pub(crate) shown: String,
    /// The command of ours, to be typed again.
    pub(crate) line: String,
}

/// An etcd, and a run in it for commands.
pub(crate) struct RunSession {
    // Dropped in this order: the keeper sweeps while the server is running.
    keeper: Keeper,
    server: Server,
    /// The program of an explicit --etcd.
    etcd: Option<PathBuf>,
    keep: Keep,
    /// What is an error.
    denied: Vec<Deny>,
    /// The name for the copy of an ephemeral etcd's log after a failure.
    log_name: String,
    /// The length of the server's log at the beginning.
    log_length: u64,
    report: Option<Report>,
    command: String,
    began: Instant,
}

impl RunSession {
    /// Chooses or starts an etcd, and registers a run for a command, which may have a report.
    pub(crate) fn open(
        args: &RunTarget,
        attempt: &mut Attempt<'_>,
        command: RunCommand,
        reports: Option<&Reports>,
        interrupts: &Interrupts,
        cx: &Context,
    ) -> Result<Self> {
        let console = on_demand::program_within(args.network(), console::PACKAGE, cx)?;
        // This may first install an etcd, for minutes.
        let server = interrupts.breakable(|| Server::choose(args, attempt.wanted, cx))?;
        attempt.begin(server.started_version())?;
        let config = KeeperConfig {
            program: console.clone(),
            client: server.client_config(),
            is_of_environment: server.is_of_environment(),
            flag: server.flag(),
            lock_dir: cx.home_of_runs()?.join(".runs"),
            command: command.shown,
            fence: args.fence(),
            escapes: args.deny.contains(&Deny::Escapes) || !server.is_elsewhere(),
            leaks: args.deny.contains(&Deny::Leaks) || !server.is_elsewhere(),
            reports: reports.map(|reports| reports.dir().to_owned()),
            ephemeral: server.is_ephemeral(),
        };
        let keeper = Keeper::start(config, cx)?;
        cx.output.note(format_args!("run {} on {}", keeper.run().run, server.describe()));
        let etcd = server.binary().filter(|_| attempt.wanted.is_some()).map(Path::to_owned);
        let log_name = match server.started_version().filter(|_| attempt.is_one_of_several) {
            Some(version) => format!("last-failure-{version}.log"),
            None => "last-failure.log".to_owned(),
        };
        let (log_length, report) =
            (server.log_length(), reports.and_then(|reports| reports.begin(keeper.run(), &server, &console, cx)));
        Ok(Self {
            keeper,
            server,
            etcd,
            keep: Keep::of(args),
            denied: args.deny.clone(),
            log_name,
            log_length,
            report,
            command: command.line,
            began: Instant::now(),
        })
    }

    /// The directory of the run's report.
    pub(crate) fn report_dir(&self) -> Option<&Path> {
        self.report.as_ref().map(Report::dir)
    }

    /// A directory for a file of the runner. It ends with an ephemeral etcd, also if this process is killed.
    pub(crate) fn scratch_dir(&self, cx: &Context) -> Result<TempDir> {
        let parent = self.server.temporary_dir().map_or_else(|| cx.home_of_runs(), |dir| Ok(dir.to_owned()))?;
        let dir = tempfile::Builder::new().prefix(".nextest-").tempdir_in(&parent);
        dir.with_context(|| format!("cannot write to `{}`", parent.display()))
    }

    /// Runs a command inside the run.
    pub(crate) fn run_command(&mut self, command: &mut Command, interrupts: &Interrupts, cx: &Context) -> Result<Exit> {
        let variables = self.keeper.run().variables.clone();
        // Tests that start their own server should use the same program.
        command.envs(self.etcd.iter().map(|etcd| ("ETCDBINPATH", etcd)));
        // Another cluster's TLS settings and user have no business in this run.
        for name in ClientConfig::VARIABLES {
            command.env_remove(name);
        }
        command.env_remove(Report::VARIABLE).envs(self.report.iter().map(Report::variable));
        let exit = interrupts.run(command.envs(variables), || self.keeper.look_after(cx))?;
        // Checked by the child's signal, because the child may get the interrupt before this process.
        if exit == Exit::INTERRUPTED {
            self.keeper.end_the_rest();
        }
        Ok(exit)
    }

    /// Ends the run, and reports the result.
    pub(crate) fn close(
        self,
        exit: Result<Exit>,
        subject: Subject,
        tests: Option<&TestResults>,
        cx: &Context,
    ) -> Result<Exit> {
        let Self { mut keeper, server, keep, denied, log_name, log_length, report, command, began, .. } = self;
        let failed = !matches!(exit, Ok(Exit::SUCCESS | Exit::INTERRUPTED));
        let keep = keep == Keep::Always || keep == Keep::Failed && failed;
        if failed {
            explain(&server, &log_name, cx);
        }
        let run = keeper.run().clone();
        if failed {
            unexplained::tell(tests, &mut keeper, cx);
        }
        if report.is_some() && subject == Subject::Command {
            // Only for the report.
            keeper.timeline("");
        }
        let [what, was] = subject.words();
        let ended = keeper.end(if keep { AtEnd::Keep } else { AtEnd::Sweep }, cx);
        let took = began.elapsed().as_secs_f32();
        let mut line = format!("{what} {} in {took:.1} s; run {}", outcome(&exit, was), run.run);
        match &ended {
            Ok(ended) => line.push_str(&keys_result(ended, keep)),
            // The keys end with the ephemeral etcd.
            Err(_) if server.is_ephemeral() => {}
            Err(_) => line.push_str("; its keys are still there"),
        }
        cx.output.note(&line);
        if keep && ended.is_ok() {
            let flag = server.flag();
            cx.output.note(format_args!("  look: cargo xtask get {} --prefix{flag}", run.prefix));
            cx.output.note(format_args!("  end:  cargo xtask test-clean --run {}{flag}", run.run));
        }
        let known = ended.as_ref().ok().cloned();
        let result = exit.and_then(|exit| exit_of_run(exit, ended, &denied, &server, cx));
        let (code, end) = (result.as_ref().ok().copied(), known.as_ref());
        let (run, etcd, command) = (&run, &server, command.as_str());
        let facts =
            Facts { subject, run, exit: code, seconds: took, ended: end, server: etcd, log_length, tests, command };
        if let Some(report) = report {
            report.finish(&facts, cx);
        }
        github::tell(&facts, cx);
        result
    }
}

/// The exit of a command, or an error if something is wrong with its run.
fn exit_of_run(exit: Exit, ended: Result<Ended>, denied: &[Deny], server: &Server, cx: &Context) -> Result<Exit> {
    match ended {
        Ok(ended) if ended.lost && exit == Exit::SUCCESS => Err(Failure::of(
            "another process deleted this run's keys while it ran: its results are not reliable",
            "run it again; `cargo xtask test-clean --all` may have deleted it",
        )),
        Err(_) if server.is_ephemeral() => Ok(exit),
        Err(error) if exit == Exit::SUCCESS => Err(error),
        // The failure of the command is more important.
        Err(error) => {
            let flag = server.flag();
            let next = format_args!("hint: `cargo xtask test-clean{flag}` deletes the run's keys once etcd answers");
            cx.output.warn(format_args!("{error:#}\n{next}"));
            Ok(exit)
        }
        Ok(ended) => {
            let escapes = escapes::report(&ended, denied.contains(&Deny::Escapes), server, cx);
            // Tests that are interrupted cannot tidy up.
            let leaks = match exit {
                Exit::INTERRUPTED => Ok(()),
                _ => leaks::report(&ended, denied.contains(&Deny::Leaks), server, cx),
            };
            let mut result = Ok(exit);
            for error in [escapes, leaks].into_iter().filter_map(Result::err) {
                match result {
                    Ok(Exit::SUCCESS) => result = Err(error),
                    _ => cx.output.warn(format_args!("{error:#}")),
                }
            }
            result
        }
    }
}

/// How a command ended, to follow its name.
fn outcome(exit: &Result<Exit>, was: &str) -> String {
    match exit {
        Ok(Exit::SUCCESS) => "passed".to_owned(),
        Ok(Exit::INTERRUPTED) => format!("{was} interrupted"),
        Ok(exit) => format!("failed with {exit}"),
        // The error has the details.
        Err(_) => "failed".to_owned(),
    }
}

/// What happened to the run's keys.
fn keys_result(ended: &Ended, keep: bool) -> String {
    let mut text = match (keep, ended.keys) {
        (true, _) => "; its keys are kept".to_owned(),
        (false, 1) => "; 1 key swept".to_owned(),
        (false, keys) => format!("; {keys} keys swept"),
    };
    if ended.stragglers {
        let _ = write!(text, "; some of its processes are still running: the next run deletes what they write");
    }
    text
}

/// Prints information about a failure.
fn explain(server: &Server, log_name: &str, cx: &Context) {
    if let Some(problem) = server.problem(cx) {
        cx.output.warn(format_args!(
            "{} {problem}; the end of its log:\n{}",
            server.describe(),
            server.tail().trim_end()
        ));
    }
    match server.lasting_log(log_name, cx) {
        Ok(Some(log)) => cx.output.note(format_args!("  etcd log: {}", cx.shown(&log))),
        Ok(None) => {}
        Err(error) => cx.output.warn(format_args!("{error:#}")),
    }
}
