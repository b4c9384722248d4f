//! Calls of the product: started, awaited with a timeout, and their output read. A panic in a call is a violation.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::wait;
use crate::workspace::command_line;

/// A call that is running. Dropped, it is killed.
pub(super) struct RunningCall {
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
}

/// A call that has ended.
#[derive(Debug)]
pub(super) struct FinishedCall {
    line: String,
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl RunningCall {
    /// Starts a call. Its output goes to two files, so that it never waits for a reader, and evidence stays.
    pub(super) fn start(mut command: Command, files: &std::path::Path) -> Result<Self> {
        let line = command_line(&command);
        let (out, err) = (files.with_extension("out"), files.with_extension("err"));
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
        Ok(Self { child, line, out, err })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The file with its output so far.
    pub(super) fn stdout_file(&self) -> PathBuf {
        self.out.clone()
    }

    pub(super) fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// kill -9; `true`: the call was still running.
    pub(super) fn kill(mut self) -> Result<bool> {
        let was_running = !self.has_ended()?;
        self.child.kill()?;
        self.child.wait()?;
        self.check_no_panic()?;
        Ok(was_running)
    }

    pub(super) fn finish(self) -> Result<FinishedCall> {
        self.finish_within(wait::TIMEOUT)
    }

    pub(super) fn finish_within(mut self, timeout: Duration) -> Result<FinishedCall> {
        let Some(status) = wait::poll(timeout, || Ok(self.child.try_wait()?))? else {
            bail!("`{}` did not end within {} s", self.line, timeout.as_secs())
        };
        self.check_no_panic()?;
        let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(FinishedCall { line: self.line.clone(), status, stdout: text(&self.out)?, stderr: text(&self.err)? })
    }

    fn check_no_panic(&self) -> Result<()> {
        let stderr = fs::read(&self.err)?;
        let stderr = String::from_utf8_lossy(&stderr);
        ensure!(!stderr.contains("panicked at"), "`{}` panicked: {stderr}", self.line);
        Ok(())
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl FinishedCall {
    /// The call must have succeeded.
    pub(super) fn ok(self) -> Result<Self> {
        self.ends_with(&[0])
    }

    /// The call must have ended with one of these exit codes.
    pub(super) fn ends_with(self, codes: &[i32]) -> Result<Self> {
        if self.status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(self);
        }
        let Self { line, status, stderr, .. } = self;
        bail!("`{line}` ended with {status}: {}", stderr.trim().replace('\n', " / "))
    }

    /// Its answer, which must be JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout).with_context(|| format!("`{}` answered `{}`", self.line, self.stdout))
    }
}
