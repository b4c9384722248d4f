//! An instance's directory: what is where in it, and whether its server runs. The lock decides that, never the record,
//! which may have come with a copy of the workspace.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::lock::is_held;
use crate::orphan::orphans;
use crate::owner::NotYours;
use crate::record::{Record, SCHEMA};

/// The record's file name, in the instance's directory.
pub const RECORD: &str = "instance.json";

/// The variable that names the directory in which a workspace keeps its instances, instead of its own `.etcd`.
pub const STATE: &str = "ETCD_LOCAL_STATE";

/// The directory in which a workspace's instances live, one directory each: `.etcd`, or what the variable [`STATE`] says
/// if it is set. A relative path is taken from the workspace.
#[must_use]
pub fn home(workspace: &Path, state: Option<&OsStr>) -> PathBuf {
    workspace.join(state.filter(|dir| !dir.is_empty()).unwrap_or(OsStr::new(".etcd")))
}

/// The lock that an instance's server holds as long as it lives.
#[must_use]
pub fn member_lock(dir: &Path) -> PathBuf {
    dir.join("member.lock")
}

/// Whether the server of an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Nobody holds the lock.
    Stopped,
    /// The lock is held, and the record does not name a server yet: another command is starting it.
    Starting,
    /// The server lives. Whoever takes the endpoints from here compares [`Record::cluster_id`] with the answers.
    Running(Box<Record>),
}

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
    #[error("a newer version of this tool wrote `{}`: it has schema {schema}, and this version knows {SCHEMA} at most", path.display())]
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

/// Whether the server of the instance in `dir` runs, and where. A directory that does not exist has no server.
///
/// # Errors
/// If the lock or, while it is held, the record does not say.
pub fn liveness(dir: &Path) -> Result<Liveness, InstanceError> {
    let lock = member_lock(dir);
    // The lock comes first: whoever takes it has put the record of a dead server right before.
    if !is_held(&lock).map_err(InstanceError::unreadable(&lock))? {
        let pids = orphans(dir);
        return if pids.is_empty() { Ok(Liveness::Stopped) } else { Err(InstanceError::Orphaned { pids }) };
    }
    let path = dir.join(RECORD);
    match Record::read(&path)? {
        Some(record) if record.pids.is_empty() => Ok(Liveness::Starting),
        Some(record) => Ok(Liveness::Running(Box::new(record))),
        None => Err(InstanceError::Missing { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::open_exclusive;

    #[test]
    fn the_lock_decides_and_the_record_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECORD);
        let text = |schema: u32, pids: &str| {
            format!(
                r#"{{"schema":{schema},"instance":"default","endpoints":["http://127.0.0.1:7"],"peer_url":"http://127.0.0.1:8",
                "member":"m","version":"3.7.2","binary":"/etcd","data_dir":"/data","log":"/log",
                "cluster_id":"00000000000000ab","pids":{pids},"process":null,"ready_ms":null}}"#
            )
        };
        assert_eq!(liveness(&dir.path().join("missing")).unwrap(), Liveness::Stopped);
        std::fs::write(&path, text(1, "[1]")).unwrap();
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Stopped, "a record without a lock");
        let lock = open_exclusive(&member_lock(dir.path())).unwrap().unwrap();
        let Liveness::Running(record) = liveness(dir.path()).unwrap() else { panic!("not running") };
        assert_eq!((record.endpoints.join(","), record.cluster_id.unwrap().0), ("http://127.0.0.1:7".to_owned(), 0xab));
        std::fs::write(&path, text(1, "[]")).unwrap();
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Starting);
        std::fs::write(&path, text(2, "[1]")).unwrap();
        assert!(matches!(liveness(dir.path()), Err(InstanceError::Newer { schema: 2, .. })));
        for damaged in ["", "{}", r#"{"schema":1}"#, "{\"schema\":0}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(liveness(dir.path()), Err(InstanceError::Damaged { .. })), "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(liveness(dir.path()), Err(InstanceError::Missing { .. })));
        drop(lock);
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Stopped);
    }
}
