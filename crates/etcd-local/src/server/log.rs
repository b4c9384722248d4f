//! The server's log: its last lines, its growth, and the reason for an exit in it. Never writes to it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Over this size, in bytes, the log is renamed at the next start.
const ROTATE: u64 = 8 << 20;

/// Renames a log that has grown large; one older log is kept.
pub(crate) fn rotate(path: &Path) -> io::Result<()> {
    if path.metadata().is_ok_and(|metadata| metadata.len() > ROTATE) {
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        std::fs::rename(path, PathBuf::from(older))?;
    }
    Ok(())
}

/// A reader of a log that starts near its end and can be asked again for what was added.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: File,
}

impl Tail {
    /// Opens `path` so that the first [`Tail::read`] gives its last `lines` lines.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(path: &Path, lines: usize) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let start = start_of_last_lines(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Opens `path` at its end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn at_end(path: &Path) -> io::Result<Self> {
        Self::open(path, 0)
    }

    /// Copies what has been added since the last call, also to the file that has taken the place of one that was renamed.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn read(&mut self, to: &mut dyn io::Write) -> io::Result<u64> {
        // A log that is shorter than what we have read was replaced: go on from its beginning.
        if self.file.metadata()?.len() < self.file.stream_position()? {
            self.file.rewind()?;
        }
        let added = io::copy(&mut self.file, to)?;
        if added > 0 {
            return Ok(added);
        }
        // A log only grows. Where the name leads to one of another length than ours has before and after, it is another.
        let named = match self.path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let added = io::copy(&mut self.file, to)?;
        if added > 0 || named == self.file.stream_position()? {
            return Ok(added);
        }
        self.file = File::open(&self.path)?;
        io::copy(&mut self.file, to)
    }
}

/// Walks backwards block by block, so that a large log costs no more than the lines asked for.
fn start_of_last_lines(file: &mut File, lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let end = file.seek(SeekFrom::End(0))?;
    let (mut start, mut wanted) = (end, lines);
    if lines == 0 {
        return Ok(end);
    }
    let mut block = Vec::new();
    while start > 0 {
        let from = start.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        file.take(start - from).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = from + at as u64 + 1;
            if after == end {
                continue; // the end of the last line begins no further one
            }
            wanted -= 1;
            if wanted == 0 {
                return Ok(after);
            }
        }
        start = from;
    }
    Ok(0)
}

/// What was written after `from`, or as much of its end as can matter.
fn since(path: &Path, from: u64) -> Option<String> {
    const ENOUGH: u64 = 256 * 1024;
    let mut file = File::open(path).ok()?;
    let end = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(ENOUGH)))).ok()?;
    let mut text = Vec::new();
    file.take(ENOUGH).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Whether the server that began last says that it goes on with a member whose making was cut short: one that has
/// committed nothing, not even that it is a member, so that it can never elect itself, and whose store has never had a
/// write. (The commit index of the WAL's last state, and the revision of the store as it was found, revision 1 being that
/// of an empty one: etcd 3.5 to 3.7 log both at a restart. 3.4 does not tell the revision, and is not believed.)
pub(crate) fn is_bootstrap_incomplete(path: &Path, from: u64) -> bool {
    #[derive(Deserialize)]
    struct Line {
        msg: String,
        #[serde(rename = "commit-index")]
        commit: Option<u64>,
        #[serde(rename = "current-rev")]
        revision: Option<i64>,
    }

    let Some(text) = since(path, from) else { return false };
    let mut is_empty = false;
    for line in text.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        match line.msg.as_str() {
            "kvstore restored" => is_empty = line.revision == Some(1),
            "restarting local member" => return is_empty && line.commit == Some(0),
            "starting local member" => return false,
            _ => {}
        }
    }
    false
}

/// Whether the server that began at `from` panicked because its election came before it had read its log: etcd 3.7 does.
pub(crate) fn is_early_election(path: &Path, from: u64) -> bool {
    since(path, from).is_some_and(|text| text.contains("requested index is unavailable due to compaction"))
}

/// Whether the server that began at `from` has put its own version into its data, which an older one then refuses: so say
/// etcd 3.4 to 3.7, of new data and of older data.
pub(crate) fn has_set_cluster_version(path: &Path, from: u64) -> bool {
    #[derive(Deserialize)]
    struct Line {
        msg: String,
    }

    const SAID: [&str; 2] = ["set initial cluster version", "updated cluster version"];
    let said = |line: &str| serde_json::from_str::<Line>(line).is_ok_and(|line| SAID.contains(&line.msg.as_str()));
    since(path, from).is_some_and(|text| text.lines().any(said))
}

/// The last lines, each no longer than a person reads; empty if there is no log.
pub(crate) fn last_lines(path: &Path, lines: usize) -> String {
    let mut text = Vec::new();
    let read = Tail::open(path, lines).and_then(|mut tail| tail.read(&mut text));
    drop(read);
    String::from_utf8_lossy(&text).lines().map(shortened).collect::<Vec<_>>().join("\n")
}

/// Why the server ended, in its own words: the last thing after `from` that it calls fatal, else what Go says of a crash,
/// else the last error, else the last line.
pub(crate) fn reason_of_exit(path: &Path, from: u64) -> Option<String> {
    let text = since(path, from)?;
    let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let complaint = |levels: &[&str]| {
        let line = lines().filter_map(Line::parse).find(|line| levels.contains(&line.level.as_str()))?;
        Some(shortened(&line.text()))
    };
    complaint(&["fatal", "panic"])
        .or_else(|| Some(shortened(crash(&text)?.0)))
        .or_else(|| complaint(&["error"]))
        .or_else(|| lines().find(|line| !line.starts_with('{')).map(shortened))
}

/// Data that the server could not go on with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Which file of it, from the data directory on.
    pub(crate) file: Option<PathBuf>,
    /// What is wrong, in the server's words.
    pub(crate) reason: String,
}

/// What the server that began at `from` says of damage to its data, if that is why it ended. (The errors of etcd's
/// packages `wal`, `walpb` and `snap`, those of bbolt for a file that is none of its own, and crashes inside of bbolt.)
pub(crate) fn damage(path: &Path, from: u64) -> Option<Damage> {
    const DB: &str = "member/snap/db";
    const OF_DB: [&str; 3] = ["invalid database", "checksum error", "version mismatch"];
    let text = since(path, from)?;
    let of_line = |line: Line| {
        let error = line.error.as_deref()?;
        let file = if ["walpb: ", "wal: ", "snap: "].iter().any(|package| error.contains(package)) {
            let name = error.split_once("in file '").and_then(|(_, rest)| rest.split('\'').next());
            name.map(|name| Path::new("member/wal").join(name))
        } else if line.msg == "failed to open database" && OF_DB.contains(&error) {
            Some(DB.into())
        } else {
            return None;
        };
        let is_fatal = matches!(line.level.as_str(), "fatal" | "panic") && !error.contains("no space left");
        is_fatal.then(|| Damage { file, reason: shortened(error) })
    };
    let crashed = || {
        let (line, stack) = crash(&text)?;
        let is_of_db = stack.iter().any(|line| line.contains("go.etcd.io/bbolt"));
        is_of_db.then(|| Damage { file: Some(DB.into()), reason: shortened(line) })
    };
    text.lines().rev().filter_map(Line::parse).find_map(of_line).or_else(crashed)
}

/// How Go tells a crash: what happened, and the stack of the goroutine that it happened in.
fn crash(text: &str) -> Option<(&str, Vec<&str>)> {
    let is_first = |line: &&str| line.starts_with("panic: ") || line.starts_with("fatal error: ");
    let mut lines = text.lines();
    let first = lines.find(is_first)?;
    let is_stack = |line: &&str| line.starts_with("goroutine ");
    let stack = lines.skip_while(|line| !is_stack(line)).skip(1).take_while(|line| !is_stack(line));
    Some((first, stack.collect()))
}

pub(crate) fn is_address_in_use(reason: &str) -> bool {
    // Linux and macOS; Windows says "Only one usage of each socket address".
    reason.contains("address already in use") || reason.contains("Only one usage of each socket address")
}

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
    error: Option<String>,
    /// What a crash was about that the server has caught and passed on.
    panic: Option<String>,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    fn text(&self) -> String {
        match self.error.as_ref().or(self.panic.as_ref()) {
            Some(error) => format!("{}: {error}", self.msg),
            None => self.msg.clone(),
        }
    }
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 400;
    match line.char_indices().nth(LONGEST) {
        Some(_) => line.chars().take(LONGEST).chain(std::iter::once('…')).collect(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(content: &str, lines: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut out = Vec::new();
        Tail::open(file.path(), lines).unwrap().read(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_member_that_never_was_made_is_told_from_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let restart =
            |commit: u64| format!(r#"{{"level":"info","msg":"restarting local member","commit-index":{commit}}}"#);
        let store = |revision: i64| format!(r#"{{"level":"info","msg":"kvstore restored","current-rev":{revision}}}"#);
        let begin = r#"{"level":"info","msg":"starting local member"}"#.to_owned();
        for (lines, is_bootstrap_incomplete) in [
            (vec![restart(0), store(1)], true),
            (vec![begin.clone(), store(1), "noise".to_owned(), restart(0), store(1)], true),
            (vec![restart(0)], false),
            (vec![restart(0), store(2)], false),
            (vec![restart(4), store(1)], false),
            (vec![restart(0), store(1), begin.clone()], false),
            (vec![restart(0), store(1), restart(4), store(1)], false),
            (vec![begin, store(1)], false),
            (vec![], false),
        ] {
            std::fs::write(&path, lines.join("\n")).unwrap();
            assert_eq!(super::is_bootstrap_incomplete(&path, 0), is_bootstrap_incomplete, "{lines:?}");
        }
        assert!(!super::is_bootstrap_incomplete(&dir.path().join("none"), 0));
    }

    #[test]
    fn the_last_lines_and_no_more() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a\n", 5), "a\n");
        assert_eq!(tail("a\n", 0), "");
        assert_eq!(tail("", 3), "");
        let long = "x".repeat(50_000);
        assert_eq!(tail(&format!("{long}\n{long}\n{long}\n"), 2), format!("{long}\n{long}\n"));
    }

    #[test]
    fn growth_and_replacement_are_followed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let mut tail = Tail::at_end(file.path()).unwrap();
        let mut out = Vec::new();
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        tail.read(&mut out).unwrap();
        std::fs::write(file.path(), "3\n").unwrap();
        tail.read(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "two\n3\n");
    }

    #[test]
    fn a_log_that_was_renamed_is_read_to_its_end_and_then_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, older) = (dir.path().join("log"), dir.path().join("log.1"));
        std::fs::write(&path, "one\n").unwrap();
        let mut tail = Tail::open(&path, 1).unwrap();
        let mut read = || {
            let mut out = Vec::new();
            tail.read(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(read(), "one\n");
        std::fs::rename(&path, &older).unwrap();
        assert_eq!(read(), "");
        std::fs::write(&older, "one\ntwo\n").unwrap();
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!((read(), read(), read()), ("two\n".to_owned(), "3\n".to_owned(), String::new()));
        std::fs::write(&path, "3\n4\n").unwrap();
        assert_eq!(read(), "4\n");
    }

    #[test]
    fn the_reason_is_the_last_complaint_else_the_last_plain_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |content: &str| {
            std::fs::write(file.path(), content).unwrap();
            reason_of_exit(file.path(), 0)
        };
        let json = "{\"level\":\"fatal\",\"msg\":\"discovery failed\",\"error\":\"listen tcp 127.0.0.1:1: bind: address already in use\"}\n{\"level\":\"info\",\"msg\":\"bye\"}\n";
        let reason = of(json).unwrap();
        assert_eq!(reason, "discovery failed: listen tcp 127.0.0.1:1: bind: address already in use");
        assert!(is_address_in_use(&reason));
        let crash = "{\"level\":\"error\",\"msg\":\"x\"}\npanic: it broke\n\ngoroutine 1 [running]:\nmain.main()\n\tmain.go:31 +0x28\n";
        assert_eq!(of(crash).unwrap(), "panic: it broke");
        let caught = "{\"level\":\"panic\",\"msg\":\"job failed\",\"panic\":\"cannot parse\"}\npanic: job failed\n";
        assert_eq!(of(caught).unwrap(), "job failed: cannot parse");
        assert_eq!(of("flag provided but not defined: -x\n\n").unwrap(), "flag provided but not defined: -x");
        assert_eq!(of("\u{fffd}\u{0}garbage").unwrap(), "\u{fffd}\u{0}garbage");
        assert_eq!(of(""), None);
        assert_eq!(reason_of_exit(file.path().join("absent").as_path(), 0), None);
    }
}
