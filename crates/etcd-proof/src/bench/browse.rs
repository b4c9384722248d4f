//! `bench browse`: how long its first screen takes, and its memory while pages are turned. In a terminal of our own, with 80
//! columns and 24 rows. Linux only.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Setup;
use super::keyspace::{Keyspace, PREFIX};
use super::measured::peak_mb;
use super::report::{Row, Size};
use super::workload::KEYS;
use crate::wait;

const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
/// The lines of the terminal that show keys.
const LINES: usize = 20;
/// How many pages are turned.
const PAGES: usize = 100;
const PAGE_DOWN: &[u8] = b"\x1b[6~";
const FOLDERS: u64 = 10;
/// By how much more memory more keys may take.
const MEMORY_RATIO: f64 = 1.2;

pub(super) fn measure(rounds: u32, setup: &Setup<'_>) -> Result<Vec<Row>> {
    let (mut flat, mut folders, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory_of_few = Vec::new();
    for keys in setup.workload.keys() {
        let target = |row: Row| row.at_most(0.3).checked_if(*keys == KEYS);
        let size = Size::keys(*keys);
        let (mut seconds, mut peaks) = (Vec::new(), Vec::new());
        let keyspace = Keyspace::with_keys(setup, *keys)?;
        for _ in 0..rounds {
            let (first, peak) = turn_pages(&keyspace)?;
            seconds.push(first);
            peaks.extend(peak);
        }
        flat.push(target(Row::new("`browse`: the first screen of one folder", "s", seconds)?.size(size)));
        if !peaks.is_empty() {
            let row = Row::new("its memory after 100 pages", "MB", peaks.clone())?.size(size);
            let is_more = !memory_of_few.is_empty();
            let row = if is_more { row.beside("fewest keys", memory_of_few.clone())? } else { row };
            memory.push(if is_more { row.ratio_at_most(MEMORY_RATIO) } else { row });
            memory_of_few = if is_more { memory_of_few } else { peaks };
        }

        let keyspace = Keyspace::new(setup)?;
        (0..FOLDERS).try_for_each(|folder| keyspace.fill_below(&format!("{PREFIX}{folder}/"), *keys / FOLDERS))?;
        let seconds = (0..rounds).map(|_| first_screen(&keyspace)).collect::<Result<Vec<_>>>()?;
        folders.push(target(Row::new("the same of ten folders", "s", seconds)?.size(size)));
    }
    Ok([flat, folders, memory].concat())
}

/// The seconds until all lines are there, and the most memory in MB while the first pages are turned.
fn turn_pages(keyspace: &Keyspace<'_>) -> Result<(f64, Option<f64>)> {
    let began = Instant::now();
    let mut browse = Browse::start(keyspace)?;
    browse.wait_for(&format!("{:010}", LINES - 1))?;
    let seconds = began.elapsed().as_secs_f64();
    for page in 1..=PAGES {
        browse.terminal.write_all(PAGE_DOWN)?;
        browse.wait_for(&format!("> {:010}", page * LINES))?;
    }
    Ok((seconds, peak_mb(browse.child.id())))
}

/// The seconds until all folders are there.
fn first_screen(keyspace: &Keyspace<'_>) -> Result<f64> {
    let began = Instant::now();
    let mut browse = Browse::start(keyspace)?;
    browse.wait_for(&format!(" {}/", FOLDERS - 1))?;
    Ok(began.elapsed().as_secs_f64())
}

/// `browse` in a terminal. It ends with this value.
struct Browse {
    child: Child,
    terminal: File,
    screen: vt100::Parser,
}

impl Browse {
    fn start(keyspace: &Keyspace<'_>) -> Result<Self> {
        // If the program had our side open, too, it would not see that the terminal is closed.
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size)?;
        let path = ptsname(&terminal, Vec::new())?.into_string().context("the terminal has no name")?;
        let open = || -> Result<Stdio> { Ok(File::options().read(true).write(true).open(&path)?.into()) };
        let mut command: Command = keyspace.xtask(&["browse", PREFIX]);
        let child = command.stdin(open()?).stdout(open()?).stderr(open()?).spawn()?;
        let screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        Ok(Self { child, terminal: File::from(terminal), screen })
    }

    /// Returns when the screen shows a text.
    fn wait_for(&mut self, text: &str) -> Result<()> {
        let until = Instant::now() + wait::TIMEOUT;
        let mut buffer = [0; 16 * 1024];
        loop {
            let shown = self.screen.screen().contents();
            if shown.contains(text) {
                return Ok(());
            }
            wait::check_interrupted()?;
            if Instant::now() > until {
                bail!("`browse` does not show `{text}`:\n{shown}");
            }
            let timeout = Timespec::try_from(Duration::from_millis(100))?;
            if poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&timeout))? > 0 {
                let read = self.terminal.read(&mut buffer).with_context(|| format!("`browse` has ended:\n{shown}"))?;
                self.screen.process(buffer.get(..read).unwrap_or_default());
            }
        }
    }
}

impl Drop for Browse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
