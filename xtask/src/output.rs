//! The streams: answers to stdout, everything else to stderr; progress only on terminals. Decides how
//! things are shown, never what.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

use anyhow::Result;
use etcd_local::{Env, Event, Reporter};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub(crate) struct Output {
    quiet: bool,
    progress: bool,
    download: Mutex<Option<ProgressBar>>,
}

impl Output {
    pub(crate) fn new(env: &Env, quiet: bool) -> Self {
        let dumb = env.var("TERM") == Some("dumb");
        let progress = !quiet && !dumb && io::stderr().is_terminal();
        Self { quiet, progress, download: Mutex::new(None) }
    }

    /// Tells the user something that is no answer and no error.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.with_bar(|bar| match bar {
                Some(bar) => bar.suspend(|| eprintln!("{text}")),
                None => eprintln!("{text}"),
            });
        }
    }

    /// Tells the user something that even `-q` should not hide.
    pub(crate) fn warn(&self, text: impl std::fmt::Display) {
        eprintln!("warning: {text}");
    }

    fn with_bar(&self, f: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.download.lock() {
            f(&mut bar);
        }
    }

    fn download(&self, received: u64, total: Option<u64>) {
        self.with_bar(|bar| {
            let bar = bar.get_or_insert_with(|| {
                let template = match total {
                    Some(_) => "  [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}",
                    None => "  {spinner} {bytes} {bytes_per_sec}",
                };
                let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
            });
            bar.set_position(received);
        });
    }
}

impl Reporter for Output {
    fn report(&self, event: &Event) {
        match event {
            Event::Downloading { received, total } if self.progress => self.download(*received, *total),
            Event::Downloading { .. } => {}
            Event::Downloaded => self.with_bar(|bar| {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }),
            Event::Substituted { .. } | Event::SetAside { .. } => self.warn(event),
            _ => self.note(event),
        }
    }
}

/// Prints one JSON object on stdout.
pub(crate) fn json(answer: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    answer_text(&text)
}

/// Prints an answer on stdout; unlike `println!` it does not panic when the reader is gone.
pub(crate) fn answer_text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Whether the reader of our output, `head` say, simply had enough.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
