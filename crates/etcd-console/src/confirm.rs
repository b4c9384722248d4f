//! Asks on a terminal before something is deleted. Without a terminal the answer is no.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::Safeguards;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::interrupt::{INTERRUPTED, Interrupt};
use crate::output;

/// A question.
pub(crate) struct Question<'a> {
    /// What would be done, for example `delete`.
    pub(crate) verb: &'a str,
    /// The object of the verb.
    pub(crate) what: &'a str,
    /// Lines to show above the question.
    pub(crate) examples: &'a str,
    /// Whether `--yes` answers it.
    pub(crate) yes: bool,
    /// The flags that mean yes without a question.
    pub(crate) flags: &'a str,
}

/// Whether stdin and stderr are terminals, so that a question can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The flags that mean yes: for more than one key `--yes` needs the count.
pub(crate) fn flags(safeguards: &Safeguards, count: u64) -> String {
    match (count, safeguards.expect_count) {
        (2.., None) => format!("--yes --expect-count {count}"),
        _ => "--yes".to_owned(),
    }
}

/// A given count must be right. Without a question, a count is required for more than one key.
///
/// # Errors
/// The refusal, which ends with the number of keys.
pub(crate) fn check_count(safeguards: &Safeguards, count: u64, refusal: String) -> Result<()> {
    match safeguards.expect_count {
        Some(expected) if expected != count => {
            Err(refused(format!("{refusal}, not {expected}"), "check again with --dry-run"))
        }
        None if safeguards.yes && count > 1 => {
            Err(refused(refusal, format!("`--expect-count {count}` confirms the number of keys")))
        }
        _ => Ok(()),
    }
}

/// Whether the answer is yes.
///
/// # Errors
/// If it is not, and there is no terminal to ask on.
pub(crate) async fn ask(question: &Question<'_>) -> Result<bool> {
    let Question { verb, what, examples, yes, flags } = question;
    if *yes {
        return Ok(true);
    }
    if !can_ask() {
        let what = format!("refused to {verb} {what}: stdin is not a terminal, so it cannot ask");
        return Err(refused(what, format!("`{flags}` does it without asking")));
    }
    let mut interrupt = Interrupt::listen()?;
    output::say_part(format_args!("{examples}{} {what}? [y/N] ", capitalized(verb)));
    let line = read_line(&mut interrupt).await?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The next line of the input; empty at its end. Ctrl-C ends the program.
pub(crate) async fn read_line(interrupt: &mut Interrupt) -> Result<String> {
    // The end of the program does not wait for this thread.
    let (sender, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = sender.send(io::stdin().read_line(&mut line).map(|_| line));
    });
    let line = tokio::select! {
        line = line => line.context("cannot read the answer")??,
        () = interrupt.pressed() => {
            output::say(format_args!(""));
            std::process::exit(INTERRUPTED);
        }
    };
    if line.is_empty() {
        // The cursor is still on the question's line.
        output::say(format_args!(""));
    }
    Ok(line)
}

/// Ends a command after the answer no: nothing was `done`.
pub(crate) fn declined(done: &str, cx: &Context) -> ExitCode {
    cx.note(format_args!("nothing was {done}"));
    ExitCode::from(Exit::Refused as u8)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// A refusal, with the next step.
pub(crate) fn refused(what: String, next: impl Into<String>) -> anyhow::Error {
    Failure { exit: Exit::Refused, what, next: next.into() }.into()
}
