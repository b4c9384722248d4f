//! Whether an instance's server runs, and where. The lock decides that, never the record, which may have come with a copy
//! of the workspace.

use std::io;
use std::path::Path;

use crate::error::InstanceError;
use crate::lock::is_held;
use crate::orphan::orphans;
use crate::paths::{RECORD, member_lock, operation_lock};
use crate::record::Record;

/// Whether the server of an instance runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// No process holds the lock.
    Stopped,
    /// The lock is held, and the record does not name a server yet: another command is starting it.
    Starting,
    /// Some of several members run, but not most of those that vote: without a majority etcd takes no write.
    NoQuorum {
        /// How many run that vote.
        running: usize,
        /// Of how many that vote.
        members: usize,
    },
    /// The server is running. A client that uses these endpoints must compare [`Record::cluster_id`] with the answers.
    Running(Box<Record>),
}

/// Whether the server of the instance in `dir` runs, and where. A directory that does not exist has no server. An instance
/// of several members runs while most of their locks are held.
///
/// # Errors
/// If the lock, or the record while the lock is held, cannot be read.
pub fn liveness(dir: &Path) -> Result<Liveness, InstanceError> {
    let lock = member_lock(dir);
    // The lock is checked first: a command that takes the lock has already corrected the record of a dead server.
    if !is_held(&lock).map_err(InstanceError::unreadable(&lock))? {
        if let Some(found) = liveness_of_members(dir)? {
            return Ok(found);
        }
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

/// The names of the directories of an instance's members, learners last; empty if it has one member, which has no directory.
///
/// # Errors
/// If the instance's directory exists and cannot be read.
pub fn member_names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    let is_member = |name: &String| is_numbered(name, 'm') || is_learner(name);
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).filter(is_member);
    let mut names: Vec<_> = names.filter(|name| member_lock(&dir.join(name)).exists()).collect();
    names.sort_by_key(|name| (is_learner(name), name.clone()));
    Ok(names)
}

/// Whether one of several members has the name of a learner, like `l1`. So it is known for one also if its record is lost.
#[must_use]
pub fn is_learner(name: &str) -> bool {
    is_numbered(name, 'l')
}

fn is_numbered(name: &str, letter: char) -> bool {
    name.strip_prefix(letter).is_some_and(|number| number.parse::<u8>().is_ok())
}

/// `None`: it has one member, or none of its members runs.
fn liveness_of_members(dir: &Path) -> Result<Option<Liveness>, InstanceError> {
    let (mut is_any_held, mut held) = (false, 0);
    for name in member_names(dir).map_err(InstanceError::unreadable(dir))? {
        let lock = member_lock(&dir.join(&name));
        let is_held = is_held(&lock).map_err(InstanceError::unreadable(&lock))?;
        is_any_held |= is_held;
        held += usize::from(is_held && !is_learner(&name));
    }
    if !is_any_held {
        return Ok(None);
    }
    let path = dir.join(RECORD);
    let record = Record::read(&path)?.ok_or(InstanceError::Missing { path })?;
    let members = record.members.iter().filter(|member| !member.learner).count();
    // A command that starts or stops members has this lock.
    let operation = operation_lock(dir);
    let is_busy = is_held(&operation).map_err(InstanceError::unreadable(&operation))?;
    Ok(Some(match held > members / 2 {
        true if record.cluster_id.is_some() && !record.pids.is_empty() => Liveness::Running(Box::new(record)),
        false if record.cluster_id.is_some() && !is_busy => Liveness::NoQuorum { running: held, members },
        _ => Liveness::Starting,
    }))
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
        std::fs::write(&path, text(3, "[1]")).unwrap();
        assert!(matches!(liveness(dir.path()), Err(InstanceError::Newer { schema: 3, .. })));
        for damaged in ["", "{}", r#"{"schema":1}"#, "{\"schema\":0}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(liveness(dir.path()), Err(InstanceError::Damaged { .. })), "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(liveness(dir.path()), Err(InstanceError::Missing { .. })));
        drop(lock);
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Stopped);
    }

    #[test]
    fn several_members_run_while_most_of_their_locks_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let member = |name: &str| {
            format!(
                r#"{{"name":"{name}","endpoint":"http://127.0.0.1:7","peer_url":"http://127.0.0.1:8","data_dir":"/data",
                "log":"/log","pids":[1],"process":null}}"#
            )
        };
        let members = ["m1", "m2", "m3"].map(member).join(",");
        let text = format!(
            r#"{{"schema":2,"instance":"default","endpoints":["http://127.0.0.1:7"],"peer_url":"http://127.0.0.1:8",
            "member":"m1","version":"3.7.2","binary":"/etcd","data_dir":"/data","log":"/log",
            "cluster_id":"00000000000000ab","pids":[1],"process":null,"ready_ms":null,"members":[{members}]}}"#
        );
        std::fs::write(dir.path().join(RECORD), text).unwrap();
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Stopped);
        let lock = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            open_exclusive(&member_lock(&dir.path().join(name))).unwrap().unwrap()
        };
        let first = lock("m1");
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::NoQuorum { running: 1, members: 3 });
        let operation = open_exclusive(&operation_lock(dir.path())).unwrap().unwrap();
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::Starting);
        drop(operation);
        let second = lock("m2");
        assert!(matches!(liveness(dir.path()).unwrap(), Liveness::Running(_)));
        drop(first);
        let _learner = lock("l1");
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::NoQuorum { running: 1, members: 3 });
        drop(second);
        assert_eq!(liveness(dir.path()).unwrap(), Liveness::NoQuorum { running: 0, members: 3 });
        assert_eq!(member_names(dir.path()).unwrap(), ["m1", "m2", "l1"]);
    }
}
