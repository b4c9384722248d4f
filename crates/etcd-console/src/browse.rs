//! `browse`: a full-screen program to look around in the keys. Only reads, except that `--write` allows it to run `del`. Reads
//! and keeps no more keys than it shows.

mod cursor;
mod folder;
mod keyboard;
mod lister;
mod listing;
mod live;
mod reading;
mod screen;
mod terminal;
mod value;
mod view;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use etcd_keys::Error;
use etcd_keys::text::Escaped;
use etcd_keys::watch::Batch;

use self::cursor::Name;
use self::folder::Folder;
use self::keyboard::Action;
use self::lister::Lister;
use self::listing::Update;
use self::live::Live;
use self::reading::{Answer, Reader};
use self::terminal::Terminal;
use self::view::{Command, View};
use crate::cli::{self, Browse, Del, Format, Safeguards};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::{advice, confirm, del, output};

/// How much is copied at most: terminals refuse more, or show it as text.
const MOST_COPIED: usize = 64 * 1024;

pub(crate) async fn run(args: Browse, cx: &Context) -> Result<ExitCode> {
    terminal::require()?;
    let start = match &args.prefix {
        Some(prefix) => crate::keys::bytes(prefix)?,
        None => cx.global.root.iter().flat_map(|root| format!("{root}/").into_bytes()).collect(),
    };
    let redaction = cx.redaction()?;
    if args.write {
        // Without a root, nothing is guarded.
        del::guard(cx)?;
    }
    let connection = cx.connect().await?;
    let all = connection.all_keys();
    let terminal = Terminal::open()?;
    let folder =
        if start.is_empty() || start.ends_with(b"/") { Folder::new(start, 1) } else { Folder::around(&start, 1) };
    let view = View::new(folder, connection.endpoint().to_owned(), args.write);
    let reader = Reader::new(all.clone(), redaction.clone());
    let lister = Lister::new(all.clone(), redaction);
    Browser { cx, terminal, view, reader, live: Live::new(all), lister }.run().await
}

struct Browser<'a> {
    cx: &'a Context,
    terminal: Terminal,
    view: View,
    reader: Reader,
    live: Live,
    lister: Lister,
}

/// What the program waits for.
enum Happened {
    Action(Action),
    Answer(Result<Answer, Error>),
    Changes(Result<Batch, Error>),
    Listed(Update),
    TimePassed,
}

impl Browser<'_> {
    async fn run(&mut self) -> Result<ExitCode> {
        loop {
            self.view.pass_time(Instant::now());
            // The size may have changed since the last picture.
            self.view.resize(self.terminal.size()?);
            self.terminal.draw(&self.view)?;
            self.reader.ask(self.view.wanted());
            self.live.follow(self.view.shown_range());
            if self.view.listing().is_none_or(|listing| !listing.is_reading()) {
                self.lister.stop();
            }
            match self.happened().await {
                Happened::Action(action) => {
                    if let Some(code) = self.act(action).await? {
                        return Ok(ExitCode::from(code));
                    }
                }
                Happened::Answer(Ok(answer)) => self.view.take(answer, Instant::now()),
                Happened::Answer(Err(error)) => self.view.fail(&error, Instant::now()),
                Happened::Changes(Ok(batch)) => self.take_changes(&batch),
                Happened::Changes(Err(error)) => self.lose_watch(&error),
                Happened::Listed(update) => self.view.take_rows(update),
                Happened::TimePassed => {}
            }
        }
    }

    async fn happened(&mut self) -> Happened {
        let next_change = self.view.next_change();
        let time_passed = async {
            match next_change {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            action = self.terminal.next_action() => Happened::Action(action),
            answer = self.reader.answer() => Happened::Answer(answer),
            batch = self.live.next() => Happened::Changes(batch),
            update = self.lister.next() => Happened::Listed(update),
            () = time_passed => Happened::TimePassed,
        }
    }

    fn take_changes(&mut self, batch: &Batch) {
        match batch {
            Batch::Events(events) => events.iter().for_each(|event| self.view.change(event, Instant::now())),
            Batch::Gap { .. } | Batch::Reset { .. } => {
                self.live.forget();
                self.view.reload();
            }
            _ => {}
        }
    }

    fn lose_watch(&mut self, error: &Error) {
        self.view.fail(error, Instant::now());
        if error.kind.is_transient() {
            // The answer shows that the server is back.
            self.view.reload();
        } else {
            self.live.give_up(self.view.shown_range());
        }
    }

    /// Returns an exit code at the end.
    async fn act(&mut self, action: Action) -> Result<Option<u8>> {
        match self.view.act(action) {
            None => {}
            Some(Command::End(code)) => return Ok(Some(code)),
            Some(Command::List(source)) => self.lister.start(source),
            Some(Command::Copy(bytes)) if bytes.len() > MOST_COPIED => {
                self.view.say(format!("{} bytes are too many for a terminal's clipboard", bytes.len()));
            }
            Some(Command::Copy(bytes)) => {
                self.terminal.copy(&bytes)?;
                self.view.say(format!("{} bytes sent to the terminal's clipboard", bytes.len()));
            }
            Some(Command::Delete(name)) => return self.delete(&name).await,
        }
        Ok(None)
    }

    /// Runs `del` on the ordinary screen, with its preview, question, guards and undo file.
    async fn delete(&mut self, name: &Name) -> Result<Option<u8>> {
        self.terminal.suspend();
        let keys = Escaped(&name.bytes).to_string();
        output::say(format_args!(
            "cargo xtask del {}{}",
            output::argument(&keys),
            if name.is_folder { " --prefix" } else { "" }
        ));
        let deleting = async {
            if let Err(error) = del::run(deletion(keys, name.is_folder), self.cx).await {
                advice::print_error(error, self.cx);
            }
            output::say_part(format_args!("Enter goes back to browse "));
            confirm::read_line(&mut Interrupt::listen()?).await
        };
        tokio::select! {
            line = deleting => line?,
            code = self.terminal.end() => return Ok(Some(code)),
        };
        self.terminal.resume()?;
        self.view.reload();
        Ok(None)
    }
}

/// The arguments of `del`, as on a command line.
fn deletion(key: String, prefix: bool) -> Del {
    let keys = cli::Keys { key, range_end: None, prefix, from_key: false };
    Del { keys, safeguards: Safeguards::default(), format: Format::Text }
}
