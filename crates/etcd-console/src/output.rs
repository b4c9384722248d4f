//! Output: answers go to stdout, everything else to stderr. Formats bytes for people and for programs.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_keys::text::Escaped;
use serde::{Serialize, Serializer};

/// The current time, for people. A clock before 1970 counts as 1970, because earlier times cannot be formatted.
pub(crate) fn now() -> std::time::SystemTime {
    std::time::SystemTime::now().max(std::time::SystemTime::UNIX_EPOCH)
}

/// A time in the local time zone, with its offset; in UTC if the time zone is unknown.
pub(crate) fn local_time(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// Whether the reader of our output, such as `head`, has closed the pipe.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
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

/// A count with its noun: `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A number of keys: `1 key`, `2 keys`.
pub(crate) fn keys(count: u64) -> String {
    counted(count, "key")
}

/// A path to paste into a shell: relative to the current directory if it is inside, and quoted if necessary.
pub(crate) fn path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    argument(&here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).to_string_lossy())
}

/// An argument to paste into a shell, quoted if necessary.
pub(crate) fn argument(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c) || cfg!(windows) && c == '\\';
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text.to_owned(),
        // No path has a `"` there, and no endpoint.
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Whether the user has nothing against colours.
pub(crate) fn may_use_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Stdout, in large writes.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(256 * 1024, io::stdout().lock())
}

/// Prints one JSON object on stdout.
pub(crate) fn json(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer(&mut out, answer).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints text on stdout. Unlike `println!` it does not panic if the reader has closed the pipe.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// How bytes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// For people.
    Escaped,
    Hex,
    /// Unchanged: for programs, never for a terminal, because control characters would take effect.
    Raw,
}

impl Bytes {
    pub(crate) fn choose(hex: bool) -> Self {
        if hex { Self::Hex } else { Self::Escaped }
    }

    /// Prints `bytes`.
    pub(crate) fn write(self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match self {
            // A fast path: nearly all keys and values are plain text.
            Self::Escaped if bytes.iter().all(|byte| matches!(byte, b' '..=b'[' | b']'..=b'~')) => out.write_all(bytes),
            Self::Escaped => write!(out, "{}", Escaped(bytes)),
            Self::Raw => out.write_all(bytes),
            Self::Hex => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
        }
    }
}

/// Bytes in base64, as etcdctl's JSON has them.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

/// Shows progress on a terminal, if an operation takes more than a second.
pub(crate) struct Progress {
    shown: bool,
    began: std::time::Instant,
    drawn: std::time::Instant,
}

impl Progress {
    const PACE: std::time::Duration = std::time::Duration::from_millis(200);
    const SLOW: std::time::Duration = std::time::Duration::from_secs(1);

    pub(crate) fn new(quiet: bool) -> Self {
        let now = std::time::Instant::now();
        Self { shown: !quiet && io::stderr().is_terminal(), began: now, drawn: now }
    }

    /// Draws the progress, but not in the first second, and not too often.
    pub(crate) fn draw(&mut self, text: impl FnOnce() -> String) {
        if self.shown && self.began.elapsed() > Self::SLOW && self.drawn.elapsed() > Self::PACE {
            self.drawn = std::time::Instant::now();
            let mut line = String::from("\r");
            let _ = write!(line, "{:<60}", text());
            say_part(format_args!("{line}"));
        }
    }

    pub(crate) fn clear(&mut self) {
        if self.shown && self.drawn > self.began {
            say_part(format_args!("\r{:60}\r", ""));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
