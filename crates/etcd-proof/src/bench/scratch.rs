//! Where a bench has everything that it makes, and the guard that clears it away.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::guard;

/// A directory for everything, gone at the end.
pub(super) struct Scratch {
    dir: PathBuf,
    guard: Child,
    next: AtomicU32,
}

impl Scratch {
    pub(super) fn open(workspace: &Path) -> Result<Self> {
        // A name that no other process has in its command line by chance.
        let dir = tempfile::Builder::new().prefix("etcd-bench-").rand_bytes(20).tempdir()?;
        let guard = guard::start(dir.path(), workspace)?;
        Ok(Self { dir: dir.keep(), guard, next: AtomicU32::new(0) })
    }

    /// A new directory in it.
    pub(super) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        guard::dismiss(&mut self.guard);
    }
}
