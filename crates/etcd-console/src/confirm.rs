//! Asking before something is destroyed: on a terminal. Elsewhere nobody can answer, so that silence is a no.

use std::io::{self, IsTerminal};

use anyhow::Result;

use crate::output::{self, Exit, Failure};

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

/// Returns if the answer is yes.
pub(crate) fn ask(question: &Question<'_>) -> Result<()> {
    let Question { what, examples, yes, flags } = question;
    if *yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let what = format!("refused to delete {what}: there is nobody to ask");
        return Err(refused(what, format!("`{flags}` does it without asking")));
    }
    output::say_part(format_args!("{examples}Delete {what}? [y/N] "));
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused("nothing was deleted".to_owned(), "answer `y` to delete")),
    }
}

/// A refusal, with the way around it.
pub(crate) fn refused(what: String, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Refused, what, next: next.into() }.into()
}
