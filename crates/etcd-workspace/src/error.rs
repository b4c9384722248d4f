//! Why nothing certain can be said of an instance.

use std::io;
use std::path::{Path, PathBuf};

use crate::owner::NotYours;
use crate::paths::SCHEMA_2;

/// Why an instance's directory does not tell where its server is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// The system refuses to open the lock or the record: they are another user's, say.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The lock or the record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server lives, and its lock file was deleted, so that it can only be stopped.
    #[error("the server runs, but its lock file was deleted (pid {})", list(pids))]
    Orphaned {
        /// Its processes.
        pids: Vec<u32>,
    },
    /// The server lives, and its record is gone.
    #[error("`{}` is missing, but the server runs", path.display())]
    Missing {
        /// The record.
        path: PathBuf,
    },
    /// The record is not one.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of these programs wrote the record.
    #[error("a newer version of this tool wrote `{}`: it has schema {schema}, and this version knows {SCHEMA_2} at most", path.display())]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its schema.
        schema: u32,
    },
}

impl InstanceError {
    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Unreadable { source: NotYours::explain(error, &path), path }
    }
}

fn list(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
