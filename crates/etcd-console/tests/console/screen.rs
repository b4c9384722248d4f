//! `browse` in a terminal of our own: keys are typed, and what the terminal then shows is read.

use std::num::NonZero;
use std::process::{Child, Command};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::cluster::{Cluster, eventually, finish};
use crate::terminal::Terminal;

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const DOWN: &str = "\x1b[B";
pub(crate) const LEFT: &str = "\x1b[D";
pub(crate) const PAGE_DOWN: &str = "\x1b[6~";
pub(crate) const PAGE_UP: &str = "\x1b[5~";
/// What ends each picture that the program draws.
const DRAWN: &[u8] = b"\x1b[?25l";

pub(crate) struct Screen {
    pub(crate) terminal: Terminal,
    pub(crate) child: Child,
    /// Columns and rows, and how many bytes were written before the terminal had this size.
    size: Mutex<(NonZero<u16>, NonZero<u16>, usize)>,
}

impl Screen {
    pub(crate) fn open(cluster: &Cluster, args: &[&str]) -> Self {
        Self::of(&mut cluster.command(&[&["browse"], args].concat()))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let terminal = Terminal::new();
        set_size(&terminal, COLUMNS, ROWS);
        let child = terminal.run(command);
        Self { terminal, child, size: Mutex::new((COLUMNS, ROWS, 0)) }
    }

    /// Gives the terminal another size, and tells the program, which then draws everything.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.press_and_resize("", columns, rows);
    }

    /// The same, so that the program finds the keys and the new size at the same time.
    pub(crate) fn press_and_resize(&self, keys: &str, columns: u16, rows: u16) {
        let (columns, rows) = (NonZero::new(columns).unwrap(), NonZero::new(rows).unwrap());
        let mut size = self.size.lock().unwrap();
        *size = (columns, rows, self.terminal.bytes().len());
        let program = Pid::from_child(&self.child);
        kill_process(program, Signal::STOP).unwrap();
        set_size(&self.terminal, columns, rows);
        kill_process(program, Signal::WINCH).unwrap();
        self.press(keys);
        kill_process(program, Signal::CONT).unwrap();
    }

    /// What the terminal shows now.
    pub(crate) fn text(&self) -> String {
        let (columns, rows, before) = *self.size.lock().unwrap();
        let mut parser = vt100::Parser::new(rows, columns, 0);
        parser.process(&self.terminal.bytes()[before..]);
        parser.screen().contents()
    }

    /// Whether a whole picture was drawn in the terminal's size.
    pub(crate) fn is_drawn(&self) -> bool {
        let before = self.size.lock().unwrap().2;
        self.terminal.bytes()[before..].windows(DRAWN.len()).any(|part| part == DRAWN)
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, words: &[&str]) {
        let shows = |text: &str| words.iter().all(|word| text.contains(word));
        assert!(eventually(|| shows(&self.text())), "{words:?} are not shown:\n{}", self.text());
    }

    #[track_caller]
    pub(crate) fn wait_until_gone(&self, word: &str) {
        assert!(eventually(|| !self.text().contains(word)), "{word} is still shown:\n{}", self.text());
    }

    /// Whether some picture had these words together, even if only for a moment.
    #[track_caller]
    pub(crate) fn wait_for_a_moment(&self, words: &[&str]) {
        let shown = || {
            let bytes = self.terminal.bytes();
            let (mut parser, mut done) = (vt100::Parser::new(ROWS, COLUMNS, 0), 0);
            let ends = bytes.windows(DRAWN.len()).enumerate().filter(|(_, part)| *part == DRAWN).map(|(at, _)| at);
            ends.chain([bytes.len()]).any(|end| {
                parser.process(&bytes[done..end]);
                done = end;
                let text = parser.screen().contents();
                words.iter().all(|word| text.contains(word))
            })
        };
        assert!(eventually(shown), "{words:?} were never shown:\n{}", self.text());
    }

    pub(crate) fn press(&self, keys: &str) {
        self.terminal.press(keys);
    }

    /// Waits for its end. The terminal must then be as before.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) {
        let left = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"\x1b[?1049l");
        let Self { terminal, child, .. } = self;
        let run = finish(child);
        assert_eq!(run.code, Some(code), "{}", terminal.shown());
        assert!(eventually(|| left(&terminal.bytes())), "the screen of before is not back");
        assert!(echoes(&terminal), "the terminal does not echo");
    }
}

/// Whether the terminal shows what is typed.
pub(crate) fn echoes(terminal: &Terminal) -> bool {
    tcgetattr(terminal.file()).unwrap().local_modes.contains(LocalModes::ECHO)
}

fn set_size(terminal: &Terminal, columns: NonZero<u16>, rows: NonZero<u16>) {
    let size = Winsize { ws_row: rows.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal.file(), size).unwrap();
}
