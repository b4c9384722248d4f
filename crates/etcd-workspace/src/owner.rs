//! Whose files are: what belongs to another user is told by its owner's name, and never changed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A user of this system, by number; shown by name, where the system's list has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32);

impl User {
    /// The user that this process runs as; `None` where files have no such owners.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        system::user().map(Self)
    }

    /// The user's number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Whether nothing is refused to this user.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut users = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let number = self.0.to_string();
        match users.find_map(|fields| (fields.get(2) == Some(&number.as_str())).then(|| fields.first().copied())?) {
            Some(name) => f.write_str(name),
            None => f.write_str(&number),
        }
    }
}

/// A file that belongs to another user than this process runs as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` belongs to another user, {owner}; this command runs as {user}", path.display())]
pub struct NotYours {
    /// The file, or the directory that it is in.
    pub path: PathBuf,
    /// Its owner.
    pub owner: User,
    /// Who we are.
    pub user: User,
}

impl NotYours {
    /// `None`: it is ours, or it is not there, or its owner cannot be found out.
    #[must_use]
    pub fn find(path: &Path) -> Option<Self> {
        let (owner, user) = (owner_of(path)?, User::of_process()?);
        (owner != user).then(|| Self { path: path.to_owned(), owner, user })
    }

    /// The reason of an error of the system's that has one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Refuses what belongs to another user, to root, too: what root writes there, its owner cannot change later.
    ///
    /// # Errors
    /// With this as its reason.
    pub fn check(path: &Path) -> io::Result<()> {
        match Self::find(path) {
            Some(theirs) => Err(io::Error::new(io::ErrorKind::PermissionDenied, theirs)),
            None => Ok(()),
        }
    }

    /// A refusal of the system's, with whom it protects: the owner of the file, or of the directory that hides it.
    #[must_use]
    pub fn explain(error: io::Error, path: &Path) -> io::Error {
        if error.kind() != io::ErrorKind::PermissionDenied || Self::of(&error).is_some() {
            return error;
        }
        let nearest = path.ancestors().find(|path| fs::symlink_metadata(path).is_ok());
        match nearest.and_then(Self::find) {
            Some(theirs) => io::Error::new(io::ErrorKind::PermissionDenied, theirs),
            None => error,
        }
    }
}

/// Whose a file is; `None`: it is not there, or may not be looked at, or the system has no such owners.
#[must_use]
pub fn owner_of(path: &Path) -> Option<User> {
    fs::symlink_metadata(path).ok().as_ref().and_then(system::owner).map(User)
}

/// The first file that does not belong to `owner`, in a directory and at most so many levels below it, and whose it is.
#[must_use]
pub fn find_foreign(path: &Path, owner: User, levels: usize) -> Option<(PathBuf, User)> {
    let theirs = owner_of(path)?;
    if theirs != owner {
        return Some((path.to_owned(), theirs));
    }
    let below = levels.checked_sub(1)?;
    let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.find_map(|entry| find_foreign(&entry.path(), owner, below))
}

#[cfg(unix)]
mod system {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt as _;

    #[expect(clippy::unnecessary_wraps, reason = "other systems have no such owners")]
    pub(super) fn owner(metadata: &Metadata) -> Option<u32> {
        Some(metadata.uid())
    }

    #[expect(clippy::unnecessary_wraps, reason = "other systems have no such users")]
    pub(super) fn user() -> Option<u32> {
        Some(rustix::process::geteuid().as_raw())
    }
}

/// An owner there may be a group, and decides nothing.
#[cfg(not(unix))]
mod system {
    use std::fs::Metadata;

    pub(super) fn owner(_: &Metadata) -> Option<u32> {
        None
    }

    pub(super) fn user() -> Option<u32> {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_a_number() {
        assert_eq!(User(0).to_string(), "root");
        assert_eq!(User(u32::MAX - 7).to_string(), (u32::MAX - 7).to_string());
    }

    #[test]
    fn what_is_ours_or_is_not_there_is_not_foreign() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(NotYours::find(dir.path()), None);
        NotYours::check(&dir.path().join("missing")).unwrap();
        let us = User::of_process().unwrap();
        assert_eq!(find_foreign(dir.path(), us, 3), None);
        assert_eq!(find_foreign(dir.path(), User(u32::MAX - 7), 0), Some((dir.path().to_owned(), us)));
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(NotYours::of(&NotYours::explain(refused(), dir.path())).is_none());
    }
}
