//! Keys below a prefix to delete, keys beside it, and the commands that delete and restore.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use etcd_keys::KeyRange;
use tokio::runtime::Runtime;

use crate::torture::Round;
use crate::torture::calls::{FinishedCall, RunningCall};
use crate::torture::keyspace::{self, Contents};
use crate::torture::testbed::EphemeralServer;
use crate::wait;

pub(super) const PREFIX: &str = "/Inventory/v1/racks/";
/// Prefixes of keys that sort beside those to delete.
const NEIGHBOURS: [&str; 5] = [
    "/Inventory/v1/racks",
    "/Inventory/v1/racks.",
    "/Inventory/v1/racks0",
    "/Inventory/v1/rack/",
    "/Inventory/v1/Test/",
];

pub(super) struct Fixture<'a> {
    pub(super) server: EphemeralServer<'a>,
    runtime: &'a Runtime,
    neighbours: Contents,
}

impl<'a> Fixture<'a> {
    /// So many keys below the prefix.
    pub(super) fn new(round: &Round<'a>, keys: u64) -> Result<Self> {
        let (server, runtime) = (round.ephemeral_server()?, round.runtime());
        let neighbours = NEIGHBOURS.iter().flat_map(|place| (0..40).map(move |n| format!("{place}{n}").into_bytes()));
        runtime.block_on(keyspace::fill(&server.connection, neighbours))?;
        runtime.block_on(keyspace::fill(&server.connection, (0..keys).map(|n| key(n).into_bytes())))?;
        let mut fixture = Self { server, runtime, neighbours: Contents::new() };
        fixture.neighbours = fixture.outside()?;
        Ok(fixture)
    }

    pub(super) fn inside(&self) -> Result<Contents> {
        self.runtime.block_on(keyspace::contents(&self.server.connection, KeyRange::prefix(PREFIX)))
    }

    fn outside(&self) -> Result<Contents> {
        let mut all = self.runtime.block_on(keyspace::contents(&self.server.connection, KeyRange::all()))?;
        all.retain(|key, _| !key.starts_with(PREFIX.as_bytes()));
        Ok(all)
    }

    /// No key outside the prefix has changed.
    pub(super) fn check_neighbours(&self) -> Result<()> {
        keyspace::same("outside the prefix", &self.neighbours, &self.outside()?)
    }

    /// Starts `del` of the prefix, which must have so many keys.
    pub(super) fn del(&self, keys: usize) -> Result<RunningCall> {
        let count = keys.to_string();
        let args = ["del", PREFIX, "--prefix", "--yes", "--expect-count", &count, "--format", "json"];
        let EphemeralServer { workspace, endpoint, .. } = &self.server;
        workspace.start(workspace.console(endpoint, &args))
    }

    pub(super) fn undo(&self, file: &std::path::Path) -> Result<FinishedCall> {
        let file = file.display().to_string();
        let EphemeralServer { workspace, endpoint, .. } = &self.server;
        workspace.start(workspace.console(endpoint, &["undo", &file, "--format", "json"]))?.finish()
    }

    /// The undo files, the newest first.
    pub(super) fn undo_files(&self) -> Result<Vec<PathBuf>> {
        let dir = self.server.workspace.path(".etcd/undo");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut files = fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        files.reverse();
        Ok(files)
    }

    /// Waits until etcd has carried out the requests of a killed client: the revision does not change for a while.
    pub(super) fn settle(&self) -> Result<()> {
        let revision =
            || -> Result<i64> { Ok(self.runtime.block_on(self.server.connection.all_keys().prefix("\0"))?.revision) };
        let (mut last, mut quiet) = (revision()?, 0);
        wait::until("nothing changes any more", wait::TIMEOUT, || {
            wait::pause(std::time::Duration::from_millis(10));
            let now = revision()?;
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
            Ok(quiet >= 5)
        })
    }
}

pub(super) fn key(number: u64) -> String {
    format!("{PREFIX}{number:06}")
}

/// The revision of the preview that a `del` wrote down: the file's name ends in it.
pub(super) fn revision_of(file: &std::path::Path) -> Result<i64> {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let revision = name.rsplit_once('-').and_then(|(_, revision)| revision.parse().ok());
    revision.with_context(|| format!("`{name}` does not end in a revision"))
}
