//! Errors of the command line's own: what failed, the next step, and the exit code. The hints for errors of the libraries are
//! in `advice`.

use crate::exit::Exit;

/// A failure that another program has already reported to the user.
#[derive(Debug, thiserror::Error)]
#[error("another program failed and has reported why")]
pub(crate) struct AlreadyReported(pub(crate) Exit);

/// A failure, with the next step.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub(crate) what: String,
    pub(crate) next: String,
    pub(crate) exit: Exit,
}

impl Failure {
    /// A failure with exit code 1: what failed, and the next step.
    #[must_use]
    pub fn of(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self::with_exit(Exit::FAILURE, what, next)
    }

    /// A failure with this exit code.
    #[must_use]
    pub fn with_exit(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self { what: what.into(), next: next.into(), exit }.into()
    }
}
