//! How much each sandbox of a run has written, and what happened to its keys, from etcd's history. Only reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use etcd_keys::text::Escaped;
use etcd_keys::{KeyRange, Redaction};

use crate::error::Error;
use crate::runs::run::Run;
use crate::timeline;
use crate::timeline::file::{Test, TimelineFile};

/// What one sandbox has written: one of the segments below the run's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxSummary {
    /// The segment: the name that the sandbox was opened with, and a random part.
    pub name: String,
    /// The number of changes.
    pub changes: u64,
    /// How often a key was created.
    pub keys: u64,
    /// The revisions of the first and the last change.
    pub revisions: (i64, i64),
}

impl Run {
    /// Reads what each sandbox of this run has written, as far as etcd has not compacted it. Holds one line for each sandbox.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn sandboxes(&self) -> Result<Vec<SandboxSummary>, Error> {
        let prefix = self.prefix();
        let all = self.registry().connection().all_keys();
        let mut history = all.history(KeyRange::prefix(prefix.as_str())).from_revision(self.revision() + 1);
        let mut found = BTreeMap::new();
        while let Some(event) = history.try_next().await? {
            let below = event.kv.key.strip_prefix(prefix.as_bytes()).unwrap_or_default();
            let segment = below.split(|byte| *byte == b'/').next().unwrap_or_default();
            // The run's own keys.
            if segment.is_empty() || segment.starts_with(b".") {
                continue;
            }
            let revision = event.kv.mod_revision;
            let (changes, keys, revisions) =
                found.entry(segment.to_vec()).or_insert_with(|| (0, 0, (revision, revision)));
            *changes += 1;
            *keys += u64::from(event.kv.create_revision == revision);
            revisions.1 = revision;
        }
        let summary = |(segment, (changes, keys, revisions)): (Vec<u8>, _)| SandboxSummary {
            name: Escaped(&segment).to_string(),
            changes,
            keys,
            revisions,
        };
        Ok(found.into_iter().map(summary).collect())
    }

    /// What happened to the keys of one sandbox, or of the whole run, as a failed test prints it. If a directory is given, all
    /// of it is written to a file there, for the run's report.
    ///
    /// # Errors
    /// Those of etcd.
    pub async fn timeline(
        &self,
        sandbox: Option<&str>,
        redaction: &Redaction,
        directory: Option<PathBuf>,
    ) -> Result<String, Error> {
        // The run's own keys begin with a dot, which comes before.
        let (prefix, range) = match sandbox {
            Some(name) => (format!("{}{name}/", self.prefix()), KeyRange::all()),
            None => (self.prefix(), KeyRange::from_key("/")),
        };
        let keys = self.registry().connection().keys(&prefix)?;
        let file = TimelineFile::create(directory, prefix.as_bytes(), Test::default());
        Ok(timeline::read(&keys, range, redaction, self.revision() + 1, Vec::new(), file).await?)
    }
}
