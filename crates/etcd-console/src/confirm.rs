//! Asking before something is destroyed: on a terminal. Elsewhere nobody can answer, so that silence is a no.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// What is asked.
pub(crate) struct Question<'a> {
    /// What would be deleted, after `Delete`.
    pub(crate) what: &'a str,
    /// Lines to show above the question.
    pub(crate) examples: &'a str,
    /// Whether `--yes` answers it.
    pub(crate) yes: bool,
    /// The flags that answer it where nobody can be asked.
    pub(crate) flags: &'a str,
}

/// Whether stdin and stderr are terminals, so that a question can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether the answer is yes.
///
/// # Errors
/// If it is not, and nobody can be asked.
pub(crate) fn ask(question: &Question<'_>) -> Result<bool> {
    let Question { what, examples, yes, flags } = question;
    if *yes {
        return Ok(true);
    }
    if !can_ask() {
        let what = format!("refused to delete {what}: stdin is not a terminal, so it cannot ask");
        return Err(refused(what, format!("`{flags}` does it without asking")));
    }
    output::say_part(format_args!("{examples}Delete {what}? [y/N] "));
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        // The end of input moves no cursor.
        output::say(format_args!(""));
    }
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The end of a command after a no: what it was there for has not been done, as was wished.
pub(crate) fn declined(cx: &Context) -> ExitCode {
    cx.note(format_args!("nothing was deleted"));
    ExitCode::from(Exit::Refused as u8)
}

/// A refusal, with the way around it.
pub(crate) fn refused(what: String, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Refused, what, next: next.into() }.into()
}
