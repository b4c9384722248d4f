//! The terminal: taken over, drawn to, and always given back: at the end, after a panic, Ctrl-C, a signal, and when the
//! terminal is closed.

use std::future::poll_fn;
use std::io::{self, IsTerminal as _, Stdout, Write as _};
use std::pin::Pin;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossterm::cursor::Show;
use crossterm::event::EventStream;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use futures_core::Stream as _;
use ratatui_crossterm::CrosstermBackend;
use tokio::sync::mpsc;

use super::keyboard::{self, Action};
use super::screen::draw;
use super::view::View;
use crate::failure::{Exit, Failure};
use crate::interrupt::{INTERRUPTED, Interrupt};

/// The exit codes after SIGHUP and SIGTERM, as in shells.
const HUNG_UP: u8 = 129;
#[cfg(unix)]
const TERMINATED: u8 = 143;

/// Fails unless a person sits at the other end.
pub(super) fn require() -> Result<()> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    let what = "`browse` needs a terminal, and its input or output is not a terminal".to_owned();
    let next = "`cargo xtask get PREFIX --prefix` prints keys and values without a terminal".to_owned();
    Err(Failure { exit: Exit::Usage, what, next }.into())
}

type Screen = ratatui_core::terminal::Terminal<CrosstermBackend<Stdout>>;

pub(super) struct Terminal {
    screen: Screen,
    /// The keyboard; `None` while another part of the program has the terminal.
    events: Option<EventStream>,
    interrupt: Interrupt,
    ends: Ends,
}

impl Terminal {
    /// Takes the terminal over. A panic gives it back, too.
    pub(super) fn open() -> Result<Self> {
        let interrupt = Interrupt::listen()?;
        let ends = Ends::listen()?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
        let mut terminal = Self { screen: screen()?, events: None, interrupt, ends };
        terminal.resume()?;
        Ok(terminal)
    }

    /// Gives the terminal to another part of the program.
    pub(super) fn suspend(&mut self) {
        self.events = None;
        give_back();
    }

    /// Takes the terminal over again.
    pub(super) fn resume(&mut self) -> Result<()> {
        enable_raw_mode().context(FAILED)?;
        crossterm::execute!(io::stdout(), EnterAlternateScreen).context(FAILED)?;
        // Nothing is on the terminal's other screen. `clear` would ask the terminal where the cursor is, and wait.
        self.screen = screen()?;
        self.events = Some(EventStream::new());
        Ok(())
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> Result<(u16, u16)> {
        let size = self.screen.size()?;
        Ok((size.width, size.height))
    }

    pub(super) fn draw(&mut self, view: &View) -> Result<()> {
        self.screen.draw(|frame| draw(frame, view))?;
        Ok(())
    }

    /// Sends bytes to the terminal's clipboard (OSC 52). The terminal does not say whether it took them.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(bytes))?;
        out.flush()
    }

    /// The next key press, or the end.
    pub(super) async fn next_action(&mut self) -> Action {
        let Self { events, interrupt, ends, .. } = self;
        let pressed = poll_fn(|cx| match events {
            Some(events) => Pin::new(events).poll_next(cx),
            None => std::task::Poll::Pending,
        });
        tokio::select! {
            biased;
            code = ends.next() => Action::End(code),
            () = interrupt.pressed() => Action::End(u8::try_from(INTERRUPTED).unwrap_or(1)),
            event = pressed => match event {
                Some(Ok(event)) => keyboard::action(&event),
                // The terminal is gone.
                Some(Err(_)) | None => Action::End(HUNG_UP),
            },
        }
    }

    /// The exit code when the program is to end, while another part of the program has the terminal.
    pub(super) async fn end(&mut self) -> u8 {
        self.ends.next().await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.suspend();
    }
}

const FAILED: &str = "cannot take over the terminal";

fn screen() -> Result<Screen> {
    ratatui_core::terminal::Terminal::new(CrosstermBackend::new(io::stdout())).context(FAILED)
}

fn give_back() {
    let _ = disable_raw_mode();
    let _ = crossterm::execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What ends the program from outside.
struct Ends {
    hung_up: mpsc::UnboundedReceiver<()>,
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Ends {
    fn listen() -> Result<Self> {
        let (sender, hung_up) = mpsc::unbounded_channel();
        watch_terminal(sender);
        #[cfg(unix)]
        let signals = {
            use tokio::signal::unix::{SignalKind, signal};
            [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]
        };
        Ok(Self {
            hung_up,
            #[cfg(unix)]
            signals,
        })
    }

    /// The exit code. Dropping the future loses nothing.
    async fn next(&mut self) -> u8 {
        let Self {
            hung_up,
            #[cfg(unix)]
            signals,
        } = self;
        let terminal = async {
            if hung_up.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            HUNG_UP
        };
        #[cfg(unix)]
        {
            let [terminated, hung_up] = signals;
            tokio::select! {
                _ = terminated.recv() => TERMINATED,
                _ = hung_up.recv() => HUNG_UP,
                code = terminal => code,
            }
        }
        #[cfg(not(unix))]
        terminal.await
    }
}

/// Tells when the terminal is closed, also if the program is not the terminal's own and gets no signal.
#[cfg(target_os = "linux")]
fn watch_terminal(sender: mpsc::UnboundedSender<()>) {
    use rustix::event::{PollFd, PollFlags, poll};
    std::thread::spawn(move || {
        let stdin = io::stdin();
        // Asks for nothing: only a hangup or an error ends the wait.
        while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&stdin, PollFlags::empty())], None) {}
        let _ = sender.send(());
    });
}

#[cfg(not(target_os = "linux"))]
fn watch_terminal(_sender: mpsc::UnboundedSender<()>) {}
