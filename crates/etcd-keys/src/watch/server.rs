//! What is to be known of a server before a watch goes on there: whether it is the same one, whether it still
//! has what is missing, and whether its progress notifications can be believed.

use etcd_client::GetOptions;
use semver::Version;

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster_id: u64,
    pub(super) revision: i64,
}

/// Whether a watch can go on after a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The server has all that came after it.
    Ready(Identity),
    /// It was compacted away.
    Compacted,
    /// It has not happened here.
    Ahead(Identity),
}

/// Asks with one read at that very revision. It goes through the cluster's leader, and one key of the range
/// is all that it needs to be allowed to read.
pub(super) async fn standing(connection: &Connection, range: &KeyRange, revision: i64) -> Result<Standing, Error> {
    match ask(connection, range, revision).await {
        Ok(identity) if identity.revision < revision => Ok(Standing::Ahead(identity)),
        Ok(identity) => Ok(Standing::Ready(identity)),
        Err(error) => match error.kind {
            ErrorKind::Compacted { .. } => Ok(Standing::Compacted),
            ErrorKind::FutureRevision(_) => ask(connection, range, 0).await.map(Standing::Ahead),
            _ => Err(error),
        },
    }
}

/// Reads how many values the range's first key has, as of a revision; 0 is the newest.
pub(super) async fn ask(connection: &Connection, range: &KeyRange, revision: i64) -> Result<Identity, Error> {
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

/// Which of etcd's defects around watches a server no longer has; none where it does not say its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repairs {
    /// Requested progress notifications come after the events that they speak of: etcd#15220, repaired in
    /// 3.4.25 and 3.5.8.
    pub(super) orders_progress: bool,
    /// A watch from the very revision of a compaction has its deletions: etcd#18089 and etcd#19179, repaired
    /// in 3.4.36 and 3.5.18.
    pub(super) keeps_deletions: bool,
}

pub(super) async fn repairs(connection: &Connection) -> Repairs {
    let mut maintenance = connection.raw().maintenance_client();
    let status = connection.call(|| Operation::Connect, maintenance.status()).await;
    status.map(|status| Repairs::of(status.version())).unwrap_or_default()
}

impl Repairs {
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
    fn old_servers_are_not_believed() {
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
            let repairs = Repairs { orders_progress: progress, keeps_deletions: deletions };
            assert_eq!(Repairs::of(version), repairs, "{version}");
        }
    }
}
