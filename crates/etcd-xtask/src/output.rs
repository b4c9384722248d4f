//! The streams: answers to stdout, everything else to stderr; progress only on terminals. Decides how
//! things are shown, never what.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_local::{Env, Event, Reporter, binary};
use serde::Serialize;

/// How things are shown.
pub struct Output {
    quiet: bool,
    progress: bool,
    /// The line of a download that is on the terminal now.
    line: Mutex<Option<Download>>,
}

struct Download {
    drawn: Instant,
}

impl Output {
    pub(crate) fn new(env: &Env, quiet: bool) -> Self {
        let dumb = env.var("TERM") == Some("dumb");
        let progress = !quiet && !dumb && io::stderr().is_terminal();
        Self { quiet, progress, line: Mutex::new(None) }
    }

    /// Whether a terminal is there to draw progress on.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Tells the user, on stdout, what was done, unless it is to be quiet. Data that was asked for goes through
    /// [`answer_text`].
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn report(&self, text: &str) -> Result<()> {
        if self.quiet { Ok(()) } else { answer_text(text) }
    }

    /// Tells the user something that is neither an answer nor an error.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.clear_line();
            say(format_args!("{text}"));
        }
    }

    /// Tells the user something that even `-q` should not hide.
    pub fn warn(&self, text: impl std::fmt::Display) {
        self.clear_line();
        say(format_args!("warning: {text}"));
    }

    /// Draws the progress of a download over the last one, ten times a second at most.
    fn draw(&self, received: u64, total: Option<u64>) {
        const POLL_INTERVAL: Duration = Duration::from_millis(100);
        let Ok(mut line) = self.line.lock() else { return };
        let done = total.is_some_and(|total| received >= total);
        if !done && line.as_ref().is_some_and(|line| line.drawn.elapsed() < POLL_INTERVAL) {
            return;
        }
        *line = Some(Download { drawn: Instant::now() });
        say_part(format_args!("\r{}", progress(received, total)));
    }

    fn clear_line(&self) {
        if let Ok(mut line) = self.line.lock()
            && line.take().is_some()
        {
            say_part(format_args!("\r{:width$}\r", "", width = WIDTH));
        }
    }
}

/// Columns that a progress line takes, the narrowest terminal's.
const WIDTH: usize = 60;

/// Bytes as people count them.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn progress(received: u64, total: Option<u64>) -> String {
    const BAR: u64 = 30;
    let text = match total {
        Some(total @ 1..) => {
            let filled = (received.min(total) * BAR / total) as usize;
            let bar = format!("{:-<width$}", "#".repeat(filled), width = BAR as usize);
            format!("  [{bar}] {:.1} of {}", received as f64 / 1e6, megabytes(total))
        }
        _ => format!("  {}", megabytes(received)),
    };
    format!("{text:WIDTH$}")
}

impl Reporter for Output {
    fn report(&self, event: &Event) {
        match event {
            Event::Binary(binary::Event::Downloading { received, total }) if self.progress => {
                self.draw(*received, *total)
            }
            Event::Binary(binary::Event::Downloading { .. }) => {}
            Event::Binary(binary::Event::Downloaded) => self.clear_line(),
            Event::Upgraded { .. } | Event::Moved { .. } | Event::Exposed { .. } => {
                self.note(format_args!("note: {event}"))
            }
            Event::Binary(binary::Event::Substituted { .. }) | Event::SetAside { .. } | Event::Unrecorded { .. } => {
                self.warn(event)
            }
            _ => self.note(event),
        }
    }
}

/// Says something on stderr, on a line of its own; unlike `eprintln!` it does not panic where nobody can hear it.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says something on stderr that a line does not end with.
pub(crate) fn say_part(text: std::fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Prints one JSON object on stdout.
///
/// # Errors
/// If nobody reads it.
pub fn json(answer: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    answer_text(&text)
}

/// Prints an answer on stdout; unlike `println!` it does not panic when the reader is gone.
///
/// # Errors
/// If nobody reads it.
pub fn answer_text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Whether the reader of our output, `head` say, simply had enough.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_fits_its_line() {
        assert_eq!(progress(0, Some(10)).trim_end(), "  [------------------------------] 0.0 of 0.0 MB");
        assert_eq!(
            progress(12_300_000, Some(24_600_000)).trim_end(),
            "  [###############---------------] 12.3 of 24.6 MB"
        );
        assert_eq!(progress(30, Some(10)).trim_end(), "  [##############################] 0.0 of 0.0 MB");
        assert_eq!(progress(1_500_000, None).trim_end(), "  1.5 MB");
        assert!(
            [progress(u64::MAX / 64, Some(u64::MAX / 32)), progress(1, Some(0))].iter().all(|line| line.len() >= WIDTH)
        );
    }
}
