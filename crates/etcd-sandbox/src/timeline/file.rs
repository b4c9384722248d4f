//! The whole timeline of a failed test as JSON, for the report of its run: docs/report.md describes it. `timeline` decides
//! what is on it. A passing test writes nothing.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use etcd_keys::LeaseId;
use etcd_keys::difference::ValueChange;
use etcd_keys::text::Escaped;
use etcd_keys::watch::{Event, EventKind};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::timeline::writer::Writer;
use crate::workspace::variable;

/// Names the directory for the files of a run that has a report.
const DIRECTORY: &str = "ETCD_TEST_TIMELINES";
/// How many bytes of a value the file has.
const LONGEST_VALUE: usize = 1000;
/// About how many characters of a value the difference has.
const WIDTH: usize = 200;

/// The file, or nothing if the run has no report. After an error it is not written any further.
pub(crate) struct TimelineFile(Option<io::Result<Writing>>);

struct Writing {
    to: PathBuf,
    out: BufWriter<NamedTempFile<File>>,
    has_entries: bool,
}

/// What is known before the history is read.
#[derive(Serialize)]
struct Head<'a> {
    /// The name of the sandbox in the run: the test's name as it was opened, and a random part.
    sandbox: &'a str,
    prefix: String,
    #[serde(flatten)]
    test: Test,
    ended: String,
}

/// The test as its runner names it, where that is known.
#[derive(Default, Serialize)]
pub(crate) struct Test {
    suite: Option<String>,
    test: Option<String>,
    attempt: Option<u32>,
    /// How long its sandbox had been open. `None`: the test did not write this itself.
    seconds: Option<f64>,
}

impl Test {
    /// The test that this thread runs.
    pub(crate) fn of_thread(ran_for: Duration) -> Self {
        let thread = std::thread::current().name().filter(|name| *name != "main").map(str::to_owned);
        Self {
            suite: variable("NEXTEST_BINARY_ID"),
            test: variable("NEXTEST_TEST_NAME").or(thread),
            attempt: variable("NEXTEST_ATTEMPT").and_then(|attempt| attempt.parse().ok()),
            seconds: Some(ran_for.as_secs_f64()),
        }
    }
}

/// One entry: a change, or a note of the test.
#[derive(Default, Serialize)]
struct Entry<'a> {
    #[serde(rename = "rev", skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// The length of the value, if it is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    before_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    /// Whether the sandbox's connection did not make this change, if that is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_another_connection: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

/// What is known at the end.
#[derive(Serialize)]
pub(crate) struct Tail {
    /// Later than the start of the run if a compaction removed older changes.
    pub(crate) first_revision: i64,
    pub(crate) last_revision: i64,
    pub(crate) is_compacted: bool,
    /// The leases whose end deleted keys.
    pub(crate) ended_leases: Vec<String>,
    /// The number of keys that are left.
    pub(crate) keys: i64,
}

/// The directory for the files of tests, if their run has a report.
pub(crate) fn directory() -> Option<PathBuf> {
    variable(DIRECTORY).map(PathBuf::from)
}

impl TimelineFile {
    /// The file of a test that has just failed, if there is a directory for it.
    pub(crate) fn create(directory: Option<PathBuf>, prefix: &[u8], test: Test) -> Self {
        let Some(directory) = directory else { return Self(None) };
        let prefix = Escaped(prefix).to_string();
        let sandbox = prefix.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let begin = || {
            let mut out = BufWriter::new(tempfile::Builder::new().prefix(".timeline-").tempfile_in(&directory)?);
            let ended = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let head = Head { sandbox, prefix: prefix.clone(), test, ended };
            let head = serde_json::to_string(&head)?;
            // The object goes on.
            write!(out, "{},\"entries\":[", head.trim_end_matches('}'))?;
            Ok(Writing { to: directory.join(format!("{sandbox}.json")), out, has_entries: false })
        };
        Self(Some(begin()))
    }

    /// Whether the run has a report.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn change(&mut self, event: &Event, lease: Option<LeaseId>, writer: Writer) {
        let (kind, after) = match event.kind {
            EventKind::Put => ("PUT", Some(event.kv.value.as_slice())),
            EventKind::Delete => ("DEL", None),
        };
        let before = event.prev_kv.as_ref().map(|kv| kv.value.as_slice());
        self.entry(|| Entry {
            revision: Some(event.kv.mod_revision),
            kind: Some(kind),
            key: Some(Escaped(&event.kv.key).to_string()),
            before: before.map(shown),
            before_bytes: before.map(<[u8]>::len).filter(|length| *length > LONGEST_VALUE),
            after: after.map(shown),
            after_bytes: after.map(<[u8]>::len).filter(|length| *length > LONGEST_VALUE),
            difference: Some(ValueChange { before, after, width: WIDTH }.to_string()),
            lease: lease.map(|lease| lease.to_string()),
            by_another_connection: writer == Writer::AnotherConnection,
            ..Entry::default()
        });
    }

    /// A note of the test, made after this revision.
    pub(crate) fn note(&mut self, revision: i64, time: Duration, text: &str) {
        let seconds = Some(time.as_secs_f64());
        self.entry(|| Entry { note: Some(text), seconds, revision: Some(revision), ..Entry::default() });
    }

    fn entry<'a>(&mut self, entry: impl FnOnce() -> Entry<'a>) {
        let Some(Ok(writing)) = &mut self.0 else { return };
        let comma = if std::mem::replace(&mut writing.has_entries, true) { ",\n" } else { "\n" };
        let written = writing.out.write_all(comma.as_bytes());
        if let Err(error) = written.and_then(|()| Ok(serde_json::to_writer(&mut writing.out, &entry())?)) {
            self.0 = Some(Err(error));
        }
    }

    /// Ends the file. Without this, there is no file.
    ///
    /// # Errors
    /// Why it could not be written.
    pub(crate) fn finish(self, tail: &Tail) -> io::Result<()> {
        let Some(writing) = self.0 else { return Ok(()) };
        let Writing { to, mut out, .. } = writing?;
        let tail = serde_json::to_string(tail)?;
        write!(out, "],{}", tail.trim_start_matches('{'))?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(to)?;
        Ok(())
    }
}

/// The beginning of a value, as text.
fn shown(value: &[u8]) -> String {
    Escaped(value.get(..LONGEST_VALUE).unwrap_or(value)).to_string()
}
