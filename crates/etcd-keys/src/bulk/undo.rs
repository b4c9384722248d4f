//! Undo files: what a deletion takes is written down before the first key goes, and put back from there.
//! Never overwrites a file, and never a key that was changed since unless told so.
//!
//! One JSON object a line, bytes as base64: a header (`schema`, `endpoint`, `cluster_id`, `revision`, `range`,
//! `keys`, and `start` and `end` of the range), a line for each key (`k`, `v`, `m` its mod revision, `l` its lease if it had one) in order, and a
//! footer (`end`), without which the file is known to be cut off.

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

/// Why keys were not written down or not put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// etcd refused.
    #[error(transparent)]
    Etcd(#[from] Box<Error>),
    /// The file cannot be written or read; one that exists is never overwritten.
    #[error("cannot {what} the undo file `{}`", path.display())]
    File {
        /// `create`, `write` or `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not one of ours, or it was damaged or cut off. Nothing was put back.
    #[error("the undo file `{}` cannot be used: line {line}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a pipe or a directory, say. An undo file is read more than once: it is checked before keys are put back.
    #[error("the undo file `{}` is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The file was whole when it was checked, but not any more while its keys were put back.
    #[error("the undo file `{}` changed, or could not be read again, after {restored} of its keys were put back", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// How many keys were put back before.
        restored: u64,
        /// What is wrong with it by now.
        source: Box<UndoError>,
    },
    /// The file is of another cluster than the one that answers.
    #[error("the undo file `{}` is of cluster {file:016x}, but cluster {here:016x} answers", path.display())]
    AnotherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster that it was written from.
        file: u64,
        /// The cluster that answers.
        here: u64,
        /// The endpoints at which the file's was, separated by commas; `None`: those at which the other one answers.
        endpoint: Option<String>,
    },
}

impl UndoError {
    /// The same of a file that was whole, after so many of its keys were put back.
    fn midway(self, restored: u64) -> Self {
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
    /// How many keys it holds.
    pub keys: u64,
    /// How many of them had a lease; they come back without.
    pub with_lease: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Writes down all that a preview showed, as of its revision, into a new file that only its owner may read.
/// When this returns, the file is on disk, and the deletion may begin. `heard` is told the keys so far.
///
/// # Errors
/// If the file exists, cannot be written, or the keys cannot be read; what there is of the file stays, and
/// lacks its footer.
pub async fn write(preview: &Preview, path: &Path, mut heard: impl FnMut(u64)) -> Result<Written, UndoError> {
    let failed = |what| move |source| UndoError::File { what, path: path.to_owned(), source };
    let mut draft = Draft { file: create(path).map_err(failed("create"))?, keys: 0, with_lease: 0, bytes: 0 };
    draft.append(&Header::of(preview).to_line()).map_err(failed("write"))?;
    let connection = preview.connection();
    let mut pages = Pages::new(connection, preview.range().clone()).at_revision(preview.revision());
    // One page is written while the next one is read.
    let mut writing: Option<JoinHandle<io::Result<Draft>>> = None;
    let mut idle = Some(draft);
    while let Some(page) = pages.next_page().await? {
        let draft = written(&mut idle, writing.take()).await.map_err(failed("write"))?;
        heard(draft.keys);
        writing = Some(tokio::task::spawn_blocking(move || draft.with(&page)));
    }
    let draft = written(&mut idle, writing).await.map_err(failed("write"))?;
    heard(draft.keys);
    check_against(preview, draft.keys, &pages, connection).await?;
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let draft = tokio::task::spawn_blocking(move || draft.finish(&directory));
    let draft = joined(draft.await).map_err(failed("write"))?;
    Ok(Written { path: path.to_owned(), keys: draft.keys, with_lease: draft.with_lease, bytes: draft.bytes })
}

/// Whether what was written down is what was previewed: after a reset the same address, and even the same cluster id, is
/// another server's.
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
        // The file's name, too, must outlive a power failure.
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
