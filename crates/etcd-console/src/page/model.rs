//! The report of a run, as `cargo xtask test` writes it: docs/report.md describes the document. Only reads.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The version of the document that is known here.
const SCHEMA: u32 = 1;

#[derive(Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    pub(super) subject: Subject,
    pub(super) run: String,
    pub(super) prefix: String,
    pub(super) command: String,
    pub(super) verdict: String,
    pub(super) exit_code: Option<i32>,
    pub(super) seconds: f64,
    pub(super) etcd: Etcd,
    pub(super) passed: Option<u64>,
    pub(super) failed: Option<u64>,
    pub(super) tests: Vec<Test>,
    pub(super) other_sandboxes: Totals,
    pub(super) other_timelines: Vec<Timeline>,
    pub(super) escapes: Option<Escapes>,
    #[serde(default)]
    pub(super) leaks: Option<Leaks>,
    #[serde(default)]
    pub(super) health: Option<Vec<MemberHealth>>,
    pub(super) lost: bool,
    pub(super) log: Log,
}

/// What ran.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    #[default]
    Tests,
    Command,
}

#[derive(Deserialize)]
pub(super) struct Etcd {
    pub(super) description: String,
}

#[derive(Deserialize)]
pub(super) struct Test {
    pub(super) suite: Option<String>,
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) seconds: Option<f64>,
    #[serde(flatten)]
    pub(super) totals: Totals,
    pub(super) again: Option<String>,
    #[serde(default)]
    pub(super) output: String,
    #[serde(default)]
    pub(super) timelines: Vec<Timeline>,
}

#[derive(Deserialize)]
pub(super) struct Totals {
    pub(super) changes: u64,
    pub(super) keys: u64,
    pub(super) revisions: Option<(i64, i64)>,
}

#[derive(Deserialize)]
pub(super) struct Escapes {
    pub(super) changes: u64,
    pub(super) keys: Vec<String>,
    pub(super) revisions: (i64, i64),
}

#[derive(Deserialize)]
pub(super) struct Leaks {
    pub(super) leases: u64,
    pub(super) locks: u64,
    pub(super) without_keys: u64,
    pub(super) named: Vec<LeftLease>,
    #[serde(default)]
    pub(super) processes: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct LeftLease {
    pub(super) id: String,
    pub(super) ttl: u64,
    pub(super) keys: u64,
    pub(super) key: String,
    pub(super) is_lock: bool,
}

#[derive(Deserialize)]
pub(super) struct MemberHealth {
    pub(super) member: String,
    pub(super) fsyncs: Option<u64>,
    pub(super) fsync_p99_seconds: Option<f64>,
    pub(super) leader_changes: Option<u64>,
    pub(super) fault: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Log {
    pub(super) left_out: usize,
    pub(super) lines: Vec<LogLine>,
}

#[derive(Deserialize)]
pub(super) struct LogLine {
    pub(super) time: String,
    pub(super) level: String,
    pub(super) text: String,
}

/// A test wrote it, perhaps with another version of etcd-sandbox: what is missing is left empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Timeline {
    pub(super) sandbox: String,
    pub(super) prefix: String,
    pub(super) attempt: Option<u32>,
    pub(super) ended: String,
    /// `None`: the test did not write it itself.
    pub(super) seconds: Option<f64>,
    pub(super) entries: Vec<Entry>,
    pub(super) first_revision: i64,
    pub(super) is_compacted: bool,
    pub(super) ended_leases: Vec<String>,
    pub(super) keys: i64,
}

/// A change, or a note of the test.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Change(Change),
    Note {
        note: String,
        #[serde(default)]
        seconds: f64,
    },
    /// Of a version that is not known here.
    Other(IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct Change {
    pub(super) rev: i64,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) difference: String,
    pub(super) lease: Option<String>,
    #[serde(default)]
    pub(super) by_another_connection: bool,
}

impl Report {
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }

        let Version { schema } = serde_json::from_slice(text)?;
        if schema > SCHEMA {
            bail!("it has schema {schema}, and this program knows {SCHEMA}: a newer version wrote it");
        }
        Ok(serde_json::from_slice(text)?)
    }
}
