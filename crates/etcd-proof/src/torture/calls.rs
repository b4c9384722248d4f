//! Calls of the product: started, awaited with a deadline, and read. A panic in one is a violation, whoever caused it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::wait;

/// A call that is under way; dropped, it is killed.
pub(super) struct Pending {
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
}

/// A call that has ended.
#[derive(Debug)]
pub(super) struct Call {
    line: String,
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Pending {
    /// Starts a call whose output goes to two files, so that nobody waits for a reader, and evidence stays.
    pub(super) fn start(mut command: Command, files: &std::path::Path) -> Result<Self> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let (out, err) = (files.with_extension("out"), files.with_extension("err"));
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
        Ok(Self { child, line, out, err })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> PathBuf {
        self.out.clone()
    }

    /// For a word to whoever reads its stdin.
    pub(super) fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// kill -9; tells whether it was still running.
    pub(super) fn kill(mut self) -> Result<bool> {
        let was_running = !self.is_over()?;
        self.child.kill()?;
        self.child.wait()?;
        self.no_panic()?;
        Ok(was_running)
    }

    pub(super) fn finish(self) -> Result<Call> {
        self.finish_within(wait::PATIENCE)
    }

    pub(super) fn finish_within(mut self, patience: Duration) -> Result<Call> {
        let Some(status) = wait::look(patience, || Ok(self.child.try_wait()?))? else {
            bail!("`{}` did not end within {} s", self.line, patience.as_secs())
        };
        self.no_panic()?;
        let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Call { line: self.line.clone(), status, stdout: text(&self.out)?, stderr: text(&self.err)? })
    }

    fn no_panic(&self) -> Result<()> {
        let said = fs::read(&self.err)?;
        let said = String::from_utf8_lossy(&said);
        ensure!(!said.contains("panicked at"), "`{}` panicked: {said}", self.line);
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Call {
    /// It has succeeded, or that is the violation.
    pub(super) fn ok(self) -> Result<Self> {
        self.ends_with(&[0])
    }

    /// It has ended with one of these codes.
    pub(super) fn ends_with(self, codes: &[i32]) -> Result<Self> {
        if self.status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(self);
        }
        let Self { line, status, stderr, .. } = self;
        bail!("`{line}` ended with {status}: {}", stderr.trim().replace('\n', " / "))
    }

    /// Its answer, which is JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout).with_context(|| format!("`{}` answered `{}`", self.line, self.stdout))
    }
}

/// No input: a question would be a hang.
pub(super) fn silent(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null())
}
