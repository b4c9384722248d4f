//! What a watch checks before it resumes on a server: whether it is the same cluster, whether the missing revisions can
//! still be read, and which of etcd's bugs this version has.

use etcd_client::GetOptions;
use semver::Version;

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// The cluster that answers, and its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster_id: u64,
    pub(super) revision: i64,
}

/// Whether a watch can continue after a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// The server has all later events.
    Available(Identity),
    /// The revision was compacted away.
    Compacted,
    /// The server has not reached the revision.
    InFuture(Identity),
}

/// Finds out with one read at that revision. The read goes through the cluster's leader, and needs the permission to
/// read only one key of the range.
pub(super) async fn availability(
    connection: &Connection,
    range: &KeyRange,
    revision: i64,
) -> Result<Availability, Error> {
    match identity(connection, range, revision).await {
        Ok(identity) if identity.revision < revision => Ok(Availability::InFuture(identity)),
        Ok(identity) => Ok(Availability::Available(identity)),
        Err(error) => match error.kind {
            ErrorKind::Compacted { .. } => Ok(Availability::Compacted),
            ErrorKind::FutureRevision(_) => identity(connection, range, 0).await.map(Availability::InFuture),
            _ => Err(error),
        },
    }
}

/// Reads the count of the range's first key at a revision; 0 is the newest revision.
pub(super) async fn identity(connection: &Connection, range: &KeyRange, revision: i64) -> Result<Identity, Error> {
    let key = if range.start().is_empty() { vec![0] } else { range.start().to_vec() };
    let options = GetOptions::new().with_count_only().with_revision(revision);
    let operation = || Operation::Watch(range.clone());
    let answer = connection.call(operation, connection.kv().get(key, Some(options))).await?;
    let header = answer.header();
    Ok(Identity {
        cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
        revision: header.map_or(0, etcd_client::ResponseHeader::revision),
    })
}

/// Which of etcd's bugs in watches are fixed in a server's version. None, if the version is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fixes {
    /// A requested progress notification never overtakes events: etcd#15220, fixed in 3.4.25 and 3.5.8.
    pub(super) orders_progress: bool,
    /// A watch that starts at the revision of a compaction gets that revision's deletions: etcd#18089 and etcd#19179,
    /// fixed in 3.4.36 and 3.5.18.
    pub(super) keeps_deletions: bool,
}

pub(super) async fn fixes(connection: &Connection) -> Fixes {
    let mut maintenance = connection.client().maintenance_client();
    let status = connection.call(|| Operation::Connect, maintenance.status()).await;
    status.map(|status| Fixes::of(status.version())).unwrap_or_default()
}

impl Fixes {
    fn of(version: &str) -> Self {
        let Ok(version) = Version::parse(version) else { return Self::default() };
        let since = |patch_of_3_4, patch_of_3_5| match (version.major, version.minor) {
            (3, 4) => version.patch >= patch_of_3_4,
            (3, 5) => version.patch >= patch_of_3_5,
            (major, minor) => (major, minor) >= (3, 6),
        };
        Self { orders_progress: since(25, 8), keeps_deletions: since(36, 18) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_by_version() {
        for (version, progress, deletions) in [
            ("3.4.23", false, false),
            ("3.4.36", true, true),
            ("3.5.8", true, false),
            ("3.5.27", true, true),
            ("3.6.0", true, true),
            ("4.0.0", true, true),
            ("3.3.27", false, false),
            ("", false, false),
        ] {
            let fixes = Fixes { orders_progress: progress, keeps_deletions: deletions };
            assert_eq!(Fixes::of(version), fixes, "{version}");
        }
    }
}
