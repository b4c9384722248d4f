//! The streams: answers to stdout, everything else to stderr. Bytes as people and as programs read them, and
//! errors with their next step.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_keys::text::Escaped;
use etcd_keys::undo::UndoError;
use etcd_keys::{Error, Kind};
use serde::{Serialize, Serializer};

use crate::context::Context;

/// The exit codes, the same as xtask's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failure = 1,
    Usage = 2,
    NotRunning = 3,
    Refused = 4,
}

/// A failure of the command line's own, with the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) next: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// Prints an error: what, why, and what to do next.
pub(crate) fn print_error(error: &anyhow::Error, cx: &Context) -> ExitCode {
    say(format_args!("error: {error}"));
    if let Some(Failure { exit, next, .. }) = error.downcast_ref() {
        for cause in error.chain().skip(1) {
            say(format_args!("  because: {cause}"));
        }
        say(format_args!("hint: {next}"));
        return ExitCode::from(*exit as u8);
    }
    let of_etcd = match error.downcast_ref::<etcd_sandbox::Error>() {
        Some(etcd_sandbox::Error::Etcd(error)) => Some(&**error),
        _ => of_etcd(error),
    };
    if let Some(error) = of_etcd {
        if let Some(cause) = root_cause(error) {
            say(format_args!("  because: {cause}"));
        }
        say(format_args!("hint: {}", cx.next_step(&error.kind).unwrap_or_else(|| next_step(&error.kind).to_owned())));
        let unreachable = matches!(error.kind, Kind::Unreachable);
        return ExitCode::from(if unreachable { Exit::NotRunning } else { Exit::Failure } as u8);
    }
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some repeat what they wrap.
        if !last.ends_with(&cause) {
            say(format_args!("  because: {cause}"));
        }
        last = cause;
    }
    match error.downcast_ref::<UndoError>() {
        Some(UndoError::AnotherCluster { endpoint, .. }) => say(format_args!("hint: {}", way_to(endpoint.as_deref()))),
        Some(UndoError::File { what: "write", .. }) => {
            say(format_args!("hint: nothing was deleted; make room for it, or see `--no-undo`"))
        }
        Some(UndoError::File { what: "create", .. }) => say(format_args!(
            "hint: nothing was deleted; `.etcd` must be a directory that you can write to, or see `--no-undo`"
        )),
        Some(UndoError::NoFile { .. }) => say(format_args!(
            "hint: nothing was changed; it is read more than once: write what comes from there to a file first"
        )),
        Some(UndoError::Changed { .. }) => say(format_args!(
            "hint: what was put back stays; once the file is whole again, the same command puts back the rest"
        )),
        Some(_) => say(format_args!("hint: nothing was changed; `del` names the undo file that it wrote")),
        None if is_of_the_disk(error) => say(format_args!("hint: `cargo xtask doctor` checks disk and permissions")),
        None => {}
    }
    ExitCode::from(Exit::Failure as u8)
}

/// Whether the system refused to read or write something.
fn is_of_the_disk(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};

    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let shared = cause.downcast_ref::<std::sync::Arc<io::Error>>().map(|error| error.kind());
        cause.downcast_ref::<io::Error>().map(io::Error::kind).or(shared)
    };
    let kinds = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
    error.chain().filter_map(kind).any(|kind| kinds.contains(&kind))
}

/// What to do about keys of another cluster, which was at this endpoint by the word of a file that anybody may have
/// written.
fn way_to(endpoint: Option<&str>) -> String {
    let way = endpoint.map(|endpoint| argument(&endpoint.escape_debug().to_string()));
    let way = way.map_or_else(
        || "that one was at this same endpoint, and is not any more".to_owned(),
        |endpoint| format!("`--endpoints {endpoint}` leads to where that one was"),
    );
    format!("{way}; `--any-cluster` puts the keys into this one all the same")
}

/// The time of day, for people. A clock before 1970, which the text of a time cannot hold, counts as then.
pub(crate) fn now() -> std::time::SystemTime {
    std::time::SystemTime::now().max(std::time::SystemTime::UNIX_EPOCH)
}

/// A time as the clock on the wall shows it, with its offset; UTC where nobody knows where the wall is.
pub(crate) fn local_time(time: std::time::SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// What the system said below etcd-client and gRPC, whose own words say nothing that the error does not.
fn root_cause(error: &Error) -> Option<String> {
    let status: &dyn std::error::Error = match error.source.as_deref()? {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::TransportError(error) => error,
        etcd_client::Error::IoError(error) => return Some(error.to_string()),
        _ => return None,
    };
    let root = std::iter::successors(status.source(), |cause| cause.source()).last()?;
    Some(root.to_string())
}

fn of_etcd(error: &anyhow::Error) -> Option<&Error> {
    match error.downcast_ref::<UndoError>() {
        Some(UndoError::Etcd(error)) => Some(&**error),
        _ => error.downcast_ref::<Error>(),
    }
}

fn next_step(kind: &Kind) -> &'static str {
    match kind {
        Kind::Compacted { .. } => "leave out --rev to read what is there now",
        Kind::FutureRevision(_) => "leave out --rev to read what is there now",
        Kind::TooLarge(_) => "a request holds at most 1.5 MiB, unless the server was told otherwise",
        Kind::NoSpace => "compact, defragment and disarm the alarm with etcdctl; if that is not enough, delete keys",
        Kind::AnotherCluster { .. } => "look at what is there now, and begin anew",
        Kind::Denied(_) => "`cargo xtask etcdctl -- --user NAME …` asks as a user that may",
        _ => "the server's log may say more",
    }
}

/// Whether the reader of our output, `head` say, simply had enough.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
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

/// How many there are, of what one is called so.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// As many keys.
pub(crate) fn keys(count: u64) -> String {
    counted(count, "key")
}

/// A path as an argument to be pasted into a shell: relative to here if it is below, and quoted if need be.
pub(crate) fn path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    argument(&here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).to_string_lossy())
}

/// An argument to be pasted into a shell: quoted if need be.
pub(crate) fn argument(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c) || cfg!(windows) && c == '\\';
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text.to_owned(),
        // No path has a `"` there, and no endpoint.
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
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

/// Prints text on stdout; unlike `println!` it does not panic when the reader is gone.
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
    /// As they are: for programs, and never for a terminal, which would obey them.
    Raw,
}

impl Bytes {
    pub(crate) fn choose(hex: bool) -> Self {
        if hex { Self::Hex } else { Self::Escaped }
    }

    /// Prints `bytes`.
    pub(crate) fn write(self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match self {
            // Nearly all keys and values are plain text, and need no second look.
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

/// Progress of what takes over a second, on terminals only.
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

    /// Draws, unless it is too early or was drawn just now.
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
