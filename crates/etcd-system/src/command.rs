//! Short helper programs, run to their end: cargo, curl, go, `etcd --version`. Each has a deadline and bounded output.
//! A helper that exceeds them is killed with its children, and so is a helper whose owner, our process, has ended.
//! Never runs a server, and never puts the environment into an error.

mod running;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use self::running::{Piece, RunningHelper};
use crate::env::Env;
use crate::wait::{self, Deadline};

/// A helper that prints more bytes than this is broken. The longest output is `cargo metadata`'s.
const OUTPUT_LIMIT: u64 = 16 << 20;
/// How often a silent helper is checked: it may have ended while its own child keeps its pipe open.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the stdout of a helper that has ended must be silent before nothing more is expected of it.
const SILENCE: Duration = Duration::from_secs(2);

/// Why a helper program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such program.
    #[error("`{program}` is not on PATH")]
    NotFound {
        /// The program's name.
        program: String,
    },
    /// The program is there and cannot be started.
    #[error("`{command}` could not be started")]
    Start {
        /// The command line.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The program ran and reported a failure.
    #[error("`{command}` failed ({status}){}", after_colon(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its stderr.
        stderr: String,
    },
    /// The program exceeded its timeout and was killed.
    #[error("`{command}` did not finish within {} s and was killed{}", timeout.as_secs_f32(), after_colon(stderr))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it was given.
        timeout: Duration,
        /// The last lines of its stderr.
        stderr: String,
    },
    /// The program printed more than is allowed, and was killed.
    #[error("`{command}` printed more than {limit} bytes and was killed")]
    TooMuchOutput {
        /// The command line.
        command: String,
        /// How many bytes were allowed.
        limit: u64,
    },
    /// The program's output could not be read or saved; the program was killed.
    #[error("the output of `{command}` could not be read or saved")]
    Output {
        /// The command line.
        command: String,
        /// Why.
        source: io::Error,
    },
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// What a helper printed.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The last lines only.
    pub stderr: String,
}

/// A helper program that is about to run.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    args: Vec<OsString>,
    dir: PathBuf,
    vars: Vec<(OsString, OsString)>,
    input: String,
}

impl Helper {
    /// The program at `path`, with the variables and the working directory of `env`.
    pub fn at(path: impl Into<PathBuf>, env: &Env) -> Self {
        let vars = env.vars().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { program: path.into(), args: Vec::new(), dir: env.cwd().to_owned(), vars, input: String::new() }
    }

    /// The program that the PATH of `env` finds under this name.
    pub fn on_path(name: &str, env: &Env) -> Result<Self, CommandError> {
        match on_path(env, name) {
            Some(path) => Ok(Self::at(path, env)),
            None => Err(CommandError::NotFound { program: name.to_owned() }),
        }
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        dir.clone_into(&mut self.dir);
        self
    }

    pub fn var(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.vars.retain(|(other, _)| other != name);
        self.vars.push((name.into(), value.into()));
        self
    }

    /// The helper's standard input. Other processes see a helper's arguments, but not its input.
    pub fn input(mut self, text: String) -> Self {
        self.input = text;
        self
    }

    /// Drops the variables that the child must not see.
    pub fn without_vars(mut self, unwanted: impl Fn(&str) -> bool) -> Self {
        self.vars.retain(|(name, _)| !name.to_str().is_some_and(&unwanted));
        self
    }

    /// Runs the helper; a status other than success is an error.
    pub fn run(&self, timeout: Duration) -> Result<Output, CommandError> {
        self.succeeded(self.output(timeout)?)
    }

    /// Runs the helper; the caller interprets its status.
    pub fn output(&self, timeout: Duration) -> Result<Output, CommandError> {
        let mut stdout = Vec::new();
        let (status, stderr) = self.pump(timeout, OUTPUT_LIMIT, &mut |bytes| {
            stdout.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(Output { status, stdout, stderr })
    }

    /// Runs the helper and passes its stdout to `sink` as it arrives; a status other than success is an error.
    pub fn stream(
        &self,
        timeout: Duration,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        let (status, stderr) = self.pump(timeout, limit, sink)?;
        self.succeeded(Output { status, stdout: Vec::new(), stderr }).map(drop)
    }

    fn succeeded(&self, output: Output) -> Result<Output, CommandError> {
        if output.status.success() {
            return Ok(output);
        }
        Err(CommandError::Failed { command: self.line(), status: output.status, stderr: output.stderr })
    }

    fn pump(
        &self,
        timeout: Duration,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(ExitStatus, String), CommandError> {
        let deadline = Deadline::after(timeout);
        let program = duct::cmd(&self.program, &self.args).dir(&self.dir).full_env(self.vars.iter().cloned());
        let program = if self.input.is_empty() { program.stdin_null() } else { program.stdin_bytes(&*self.input) };
        let (running, pieces) =
            RunningHelper::start(&program).map_err(|source| CommandError::Start { command: self.line(), source })?;
        let (mut tail, mut received, mut status, mut end) = (Tail::default(), 0_u64, None, deadline);
        while !end.expired() {
            match pieces.recv_timeout(CHECK_INTERVAL.min(end.remaining())) {
                Ok(Piece::Out(bytes)) => {
                    received = received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    if received > limit {
                        return Err(CommandError::TooMuchOutput { command: self.line(), limit });
                    }
                    sink(&bytes).map_err(|source| self.unusable(source))?;
                    if status.is_some() && !deadline.expired() {
                        end = Deadline::after(SILENCE);
                    }
                }
                Ok(Piece::Err(bytes)) => tail.push(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if status.is_none() {
                status = running.status().map_err(|source| self.unusable(source))?;
                // After the helper has ended, a child of it may still hold the pipes open. That child's output is not needed,
                // but on a busy machine the helper's own output may still wait for our reader.
                end = status.map_or(end, |_| Deadline::after(SILENCE));
            }
        }
        match wait::until(deadline, || running.status()).map_err(|source| self.unusable(source))? {
            Some(status) => Ok((status, tail.text())),
            None => Err(CommandError::TimedOut { command: self.line(), timeout, stderr: tail.text() }),
        }
    }

    fn unusable(&self, source: io::Error) -> CommandError {
        CommandError::Output { command: self.line(), source }
    }

    /// The command line, for people: credentials in URLs are left out.
    pub fn line(&self) -> String {
        let mut line = self.program.display().to_string();
        for arg in &self.args {
            let arg = without_credentials(&arg.to_string_lossy());
            line.push(' ');
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                line.push_str(&format!("{arg:?}"));
            } else {
                line.push_str(&arg);
            }
        }
        line
    }
}

/// The end of what was written to stderr.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    const BYTES: usize = 4 << 10;
    const LINES: usize = 8;

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.drain(..self.0.len().saturating_sub(Self::BYTES));
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(Self::LINES)..).unwrap_or_default().join("\n");
        // Colours and cursor movements have no place in an error.
        without_credentials(last.chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim())
    }
}

/// The first program of this name on the PATH of `env`.
pub fn on_path(env: &Env, name: &str) -> Option<PathBuf> {
    all_on_path(env, name).into_iter().next()
}

/// All programs of this name on the PATH of `env`, in its order; or the one that a path names.
#[must_use]
pub fn all_on_path(env: &Env, name: impl AsRef<OsStr>) -> Vec<PathBuf> {
    match which::which_in_all(name, env.var_os("PATH"), env.cwd()) {
        Ok(found) => found.collect(),
        Err(_) => Vec::new(),
    }
}

/// The first line that a program, by its name or path, prints in `dir`: its version, say. `None`: the program is missing,
/// fails, or exceeds `timeout` and is killed with its children.
#[must_use]
pub fn first_line(
    program: impl AsRef<OsStr>,
    args: &[&str],
    dir: &Path,
    env: &Env,
    timeout: Duration,
) -> Option<String> {
    let path = all_on_path(env, program).into_iter().next()?;
    let output = Helper::at(path, env).args(args).dir(dir).run(timeout).ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// A text whose URLs are without `user:password@`, and without the values of their queries, which may be tokens.
pub fn without_credentials(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '>' | ')'));
        let (url, next) = after.split_at(end.unwrap_or(after.len()));
        let authority = url.split(['/', '?', '#']).next().unwrap_or(url);
        let place = match authority.rsplit_once('@') {
            Some((credentials, _)) => format!("…{}", url.strip_prefix(credentials).unwrap_or(url)),
            None => url.to_owned(),
        };
        let place = place.split_once('?').map_or_else(|| place.clone(), |(path, _)| format!("{path}?…"));
        shown = shown + before + "://" + &place;
        rest = next;
    }
    shown + rest
}

#[cfg(test)]
mod tests;
