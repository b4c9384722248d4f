//! Data that was wiped: renamed at once, deleted later, because that can take long.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DataDir, DataError, MARKER};
use crate::file::cannot;
use crate::random;

const TRASH: &str = ".wiped-";

/// Data that was wiped and is only still being deleted.
#[derive(Debug)]
pub(crate) struct Trash(PathBuf);

impl Trash {
    /// Renames the data, so that it counts as wiped.
    pub(super) fn of(data: &Path) -> Result<Self, DataError> {
        let (Some(parent), Some(name)) = (data.parent(), data.file_name()) else {
            return Err(cannot("rename", data)(io::ErrorKind::InvalidInput.into()).into());
        };
        let mut away = name.to_owned();
        away.push(format!("{TRASH}{}", random::hex().map_err(DataError::Random)?));
        let away = parent.join(away);
        fs::rename(data, &away).map_err(cannot("rename", data))?;
        Ok(Self(away))
    }

    /// Gives the data its name back.
    pub(crate) fn put_back(self, data: &Path) -> Result<(), DataError> {
        Ok(fs::rename(&self.0, data).map_err(cannot("rename", &self.0))?)
    }

    /// Deletes it. The marker goes last, so that an interrupted deletion can be taken up again.
    pub(crate) fn delete(self) -> Result<(), DataError> {
        let delete = || -> io::Result<()> {
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false if entry.file_name() == MARKER => {}
                    false => fs::remove_file(entry.path())?,
                }
            }
            fs::remove_file(self.0.join(MARKER))?;
            fs::remove_dir(&self.0)
        };
        Ok(delete().map_err(cannot("delete", &self.0))?)
    }

    /// What interrupted wipes of `data` left: directories beside it, of our naming, with `owner`'s marker.
    /// One that is empty already, its marker gone, ends here.
    pub(crate) fn left_beside(data: &Path, owner: &Path) -> Vec<Self> {
        let (Some(parent), Some(name)) = (data.parent(), data.file_name().and_then(|name| name.to_str())) else {
            return Vec::new();
        };
        let prefix = format!("{name}{TRASH}");
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let ours = |path: &PathBuf| matches!(DataDir::find(path), Ok(Some(found)) if found.is_owned_by(owner));
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))
            .map(|entry| entry.path())
            .filter(|path| fs::remove_dir(path).is_err() && ours(path))
            .map(Self)
            .collect()
    }
}
