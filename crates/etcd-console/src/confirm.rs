//! Asking before something is destroyed: on a terminal. Elsewhere nobody can answer, so that silence is a no.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// What is asked.
pub(crate) struct Question<'a> {
    /// What would be done: `delete`, say.
    pub(crate) verb: &'a str,
    /// What with.
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
    let Question { verb, what, examples, yes, flags } = question;
    if *yes {
        return Ok(true);
    }
    if !can_ask() {
        let what = format!("refused to {verb} {what}: stdin is not a terminal, so it cannot ask");
        return Err(refused(what, format!("`{flags}` does it without asking")));
    }
    output::say_part(format_args!("{examples}{} {what}? [y/N] ", capitalized(verb)));
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        // The end of input moves no cursor.
        output::say(format_args!(""));
    }
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The end of a command after a no: nothing was deleted, or `done` otherwise.
pub(crate) fn declined(done: &str, cx: &Context) -> ExitCode {
    cx.note(format_args!("nothing was {done}"));
    ExitCode::from(Exit::Refused as u8)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// A refusal, with the way around it.
pub(crate) fn refused(what: String, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Refused, what, next: next.into() }.into()
}
