//! Small files that are there whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{os, random};

/// Replaces `path` by `content`: written beside it, synced, renamed. A reader sees the old or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut scratch = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
    scratch.write_all(content)?;
    scratch.as_file().sync_all()?;
    scratch.persist(path)?;
    os::sync_dir(dir)
}

/// Renames a file that cannot be used to a name beside it that is free.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", random::hex().map_err(io::Error::other)?));
    let aside = PathBuf::from(aside);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}
