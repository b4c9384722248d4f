//! Undo files: the keys of a deletion are saved to a file before the first key is deleted, and can be restored from it.
//! A file is never overwritten. A key that was changed since is overwritten only on request.
//!
//! The format: one JSON object a line, with bytes as base64. First a header (`schema`, `endpoint`, `cluster_id`,
//! `revision`, `range`, `keys`, and `start` and `end` of the range). Then, in order, a line for each key (`k` key, `v` value,
//! `m` mod revision, `l` lease if it had one). Last a footer (`end`). A file without a footer is incomplete.

mod format;
mod lines;
mod restore;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

pub use self::format::Header;
pub use self::restore::{Conflict, Restore, Restored};
use crate::bulk::delete::{self, Preview};
use crate::bulk::pages::{Page, Pages};
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};

/// Why keys were not saved or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// A request to etcd failed.
    #[error(transparent)]
    Etcd(#[from] Box<Error>),
    /// The file cannot be written or read. An existing file is never overwritten.
    #[error("cannot {what} the undo file `{}`", path.display())]
    File {
        /// `create`, `write` or `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not an undo file, or it is damaged or incomplete. No key was restored.
    #[error("the undo file `{}` cannot be used: line {line}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with the line.
        reason: String,
    },
    /// The path is a pipe or a directory, for example. An undo file is read more than once: it is checked before keys are
    /// restored.
    #[error("the undo file `{}` is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The file was complete when it was checked, but changed while its keys were restored.
    #[error("the undo file `{}` changed or became unreadable after {restored} of its keys were restored", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The number of keys that were restored before.
        restored: u64,
        /// What is wrong with the file now.
        source: Box<UndoError>,
    },
    /// The file was written from another cluster than the one that answers.
    #[error("the undo file `{}` is of cluster {file:016x}, but cluster {here:016x} answers", path.display())]
    AnotherCluster {
        /// The file.
        path: PathBuf,
        /// The id of the file's cluster.
        file: u64,
        /// The id of the cluster that answers.
        here: u64,
        /// The endpoints of the file's cluster, separated by commas; `None` if they are the connection's endpoints.
        endpoint: Option<String>,
    },
}

impl UndoError {
    /// The error of a file that was complete when it was checked, after `restored` of its keys were restored.
    fn after_partial_restore(self, restored: u64) -> Self {
        match &self {
            Self::File { path, .. } | Self::Damaged { path, .. } | Self::NotRegular { path } => {
                Self::Changed { path: path.clone(), restored, source: Box::new(self) }
            }
            _ => self,
        }
    }
}

impl From<Error> for UndoError {
    fn from(error: Error) -> Self {
        Self::Etcd(Box::new(error))
    }
}

/// An undo file that is complete and on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// The number of keys in it.
    pub keys: u64,
    /// The number of keys that had a lease. They are restored without it.
    pub with_lease: u64,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// Saves the keys of a preview, at its revision, to a new file that only its owner may read. When this returns, the file
/// is on disk and the deletion may begin. `on_progress` gets the number of keys written so far.
///
/// # Errors
/// If the file exists or cannot be written, or if the keys cannot be read. An incomplete file stays, without its footer.
pub async fn write(preview: &Preview, path: &Path, mut on_progress: impl FnMut(u64)) -> Result<Written, UndoError> {
    let failed = |what| move |source| UndoError::File { what, path: path.to_owned(), source };
    let mut draft = Draft { file: create(path).map_err(failed("create"))?, keys: 0, with_lease: 0, bytes: 0 };
    draft.append(&Header::of(preview).to_line()).map_err(failed("write"))?;
    let connection = preview.connection();
    let mut pages = Pages::new(connection, preview.range().clone()).at_revision(preview.revision());
    // Writes one page while the next page is read.
    let mut writing: Option<JoinHandle<io::Result<Draft>>> = None;
    let mut idle = Some(draft);
    while let Some(page) = pages.next_page().await? {
        let draft = written(&mut idle, writing.take()).await.map_err(failed("write"))?;
        on_progress(draft.keys);
        writing = Some(tokio::task::spawn_blocking(move || draft.with(&page)));
    }
    let draft = written(&mut idle, writing).await.map_err(failed("write"))?;
    on_progress(draft.keys);
    check_against(preview, draft.keys, &pages, connection).await?;
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let draft = tokio::task::spawn_blocking(move || draft.finish(&directory));
    let draft = joined(draft.await).map_err(failed("write"))?;
    Ok(Written { path: path.to_owned(), keys: draft.keys, with_lease: draft.with_lease, bytes: draft.bytes })
}

/// Checks that the saved keys are those of the preview. After a reset, another server may have the same address, and even
/// the same cluster id.
async fn check_against(preview: &Preview, keys: u64, pages: &Pages, connection: &Connection) -> Result<(), UndoError> {
    let now = match pages.seen() {
        Some((_, now)) => now,
        None => delete::cluster_id(connection, preview.range()).await?,
    };
    if now == preview.cluster_id() && keys == preview.count() {
        return Ok(());
    }
    let kind = ErrorKind::AnotherCluster { before: preview.cluster_id(), now };
    Err(connection.error(Operation::Read(preview.range().clone()), kind).into())
}

async fn written(idle: &mut Option<Draft>, writing: Option<JoinHandle<io::Result<Draft>>>) -> io::Result<Draft> {
    match (writing, idle.take()) {
        (Some(writing), _) => joined(writing.await),
        (None, Some(draft)) => Ok(draft),
        (None, None) => Err(io::Error::other("the file is gone")),
    }
}

fn joined<T>(result: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A file that is being written.
struct Draft {
    file: File,
    keys: u64,
    with_lease: u64,
    bytes: u64,
}

impl Draft {
    fn append(&mut self, text: &str) -> io::Result<()> {
        self.bytes += text.len() as u64;
        self.file.write_all(text.as_bytes())
    }

    fn with(mut self, page: &Page) -> io::Result<Self> {
        let mut text = String::new();
        for entry in page.entries() {
            self.keys += 1;
            self.with_lease += u64::from(entry.lease().is_some());
            format::push_entry(&mut text, &entry);
        }
        self.append(&text)?;
        Ok(self)
    }

    fn finish(mut self, directory: &Path) -> io::Result<Self> {
        self.append(&format::footer(self.keys))?;
        self.file.sync_all()?;
        // The directory entry, too, must survive a power failure.
        if cfg!(unix) {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            File::open(directory)?.sync_all()?;
        }
        Ok(self)
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
