//! Errors of the command line's own: what failed, the next step, and the exit code. The words for the libraries' errors
//! are in `advice`.

use crate::exit::Exit;

/// A failure that another program has told the user of.
#[derive(Debug, thiserror::Error)]
#[error("another program failed, and has said why")]
pub(crate) struct AlreadySaid(pub(crate) Exit);

/// A failure of the command line's own, with the next step.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub(crate) what: String,
    pub(crate) next: String,
    pub(crate) exit: Exit,
}

impl Failure {
    /// What failed, and the next step.
    #[must_use]
    pub fn of(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self::with_exit(Exit::FAILURE, what, next)
    }

    /// With an exit code of its own.
    #[must_use]
    pub fn with_exit(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self { what: what.into(), next: next.into(), exit }.into()
    }
}
