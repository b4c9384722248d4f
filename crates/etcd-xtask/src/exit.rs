//! The exit codes. They are few, documented in docs/commands.md, and never change their meaning.

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// Done, or nothing to do.
    pub const SUCCESS: Self = Self(0);
    /// Failed; the message says why.
    pub const FAILURE: Self = Self(1);
    /// Wrong arguments or settings; clap's code, too. Nothing was done.
    pub const USAGE: Self = Self(2);
    /// The etcd that is needed, or whose state was requested, is not running.
    pub const NOT_RUNNING: Self = Self(3);
    /// Refused to delete something without an explicit flag.
    pub const REFUSED: Self = Self(4);
    /// Ended by Ctrl-C: 128 + SIGINT, as shells have it.
    pub const INTERRUPTED: Self = Self(130);

    /// A child's own code, passed on; a child ended by a signal counts as 128 + its number.
    #[must_use]
    pub fn of_child(status: std::process::ExitStatus) -> Self {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Self(u8::try_from(128 + signal).unwrap_or(Self::FAILURE.0));
        }
        match status.code() {
            Some(code) => Self(u8::try_from(code).unwrap_or(Self::FAILURE.0)),
            None => Self::FAILURE,
        }
    }
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0.into()
    }
}

/// For people: names the signal of codes like 137.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0)?;
        match self.0 {
            // Linux has this many signals.
            129..=192 if cfg!(unix) => write!(f, ", as after signal {}", self.0 - 128),
            _ => Ok(()),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
