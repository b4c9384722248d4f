//! Whether an instance's server runs, and where. The lock decides that, never the record, which may have come with a copy
//! of the workspace.

use std::path::Path;

use crate::error::InstanceError;
use crate::lock::is_held;
use crate::orphan::orphans;
use crate::paths::{RECORD, member_lock};
use crate::record::Record;

/// Whether the server of an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// No process holds the lock.
    Stopped,
    /// The lock is held, and the record does not name a server yet: another command is starting it.
    Starting,
    /// The server is running. A client that uses these endpoints must compare [`Record::cluster_id`] with the answers.
    Running(Box<Record>),
}

/// Whether the server of the instance in `dir` runs, and where. A directory that does not exist has no server.
///
/// # Errors
/// If the lock, or the record while the lock is held, cannot be read.
pub fn liveness(dir: &Path) -> Result<Liveness, InstanceError> {
    let lock = member_lock(dir);
    // The lock is checked first: a command that takes the lock has already corrected the record of a dead server.
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
