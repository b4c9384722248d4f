//! Output: answers go to stdout, everything else to stderr, progress only to terminals.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_local::{Env, Event, Reporter, binary};
use serde::Serialize;

/// How to print.
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

    /// Whether stderr is a terminal, for progress.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Reports on stdout what was done, except with --quiet. Requested data is printed with [`answer_text`].
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn report(&self, text: &str) -> Result<()> {
        if self.quiet { Ok(()) } else { answer_text(text) }
    }

    /// Prints a note on stderr, except with --quiet.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.clear_line();
            say(format_args!("{text}"));
        }
    }

    /// Prints a warning on stderr, also with --quiet.
    pub fn warn(&self, text: impl std::fmt::Display) {
        self.clear_line();
        say(format_args!("warning: {text}"));
    }

    /// Draws the progress of a download over the line before, at most ten times a second.
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

/// The width of a progress line: that of the narrowest terminals.
const WIDTH: usize = 60;

/// A number of bytes, for people.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Rows of cells, in columns as wide as their widest cell.
pub(crate) fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(row.as_ref().len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &R| {
        let cells: Vec<String> =
            row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
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

/// Prints a line on stderr. Unlike `eprintln!` it does not panic if stderr is closed.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints on stderr without a newline.
pub(crate) fn say_part(text: std::fmt::Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Prints one JSON object on stdout.
///
/// # Errors
/// If stdout cannot be written.
pub fn json(answer: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    answer_text(&text)
}

/// Prints an answer on stdout. Unlike `println!` it does not panic if the reader has closed the pipe.
///
/// # Errors
/// If stdout cannot be written.
pub fn answer_text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Whether the reader of our output, such as `head`, has closed the pipe.
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
