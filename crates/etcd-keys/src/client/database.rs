//! The database of the member that a connection uses: its size, and what frees its space. Which member that is, the caller
//! decides, who connects to one endpoint.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, StatusResponse};
use serde::Serialize;

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};

/// How long a request may take that moves the whole database: etcd's largest, 8 GiB, on a slow disk.
const LONG: Duration = Duration::from_secs(600);

/// The size of a database, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseSize {
    /// Of the file.
    pub total: u64,
    /// Of what is used in it: keys, and their history since the last compaction.
    pub in_use: u64,
    /// The total at which writes are refused; `None`: an etcd before 3.6, which does not tell.
    pub quota: Option<u64>,
}

/// What [`Connection::compact_database`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The revision that the history now begins with.
    pub revision: i64,
    /// The size before.
    pub before: DatabaseSize,
    /// The size after.
    pub after: DatabaseSize,
    /// Whether the alarm NOSPACE was on, and is off now.
    pub disarmed: bool,
    /// Whether the alarm NOSPACE stays on, because the keys alone, without any history, are more than the quota.
    pub is_still_full: bool,
}

impl Connection {
    /// Frees the space of the member's database: forgets the history of all keys, gives what that took back to the file
    /// system, and ends the alarm NOSPACE. Keys stay as they are. Until it is done, the member answers no requests.
    ///
    /// # Errors
    /// The errors of every request, but those of time: each may take ten minutes.
    pub async fn compact_database(&self) -> Result<Compacted, Error> {
        let mut client = self.client();
        let status = self.maintain("read the size of", client.status()).await?;
        let revision = status.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
        let options = Some(CompactionOptions::new().with_physical());
        match self.maintain("compact", client.compact(revision, options)).await {
            Ok(_) | Err(Error { kind: ErrorKind::Compacted { .. }, .. }) => {}
            Err(error) => return Err(error),
        }
        self.maintain("defragment", client.defragment()).await?;
        let alarms = client.alarm(AlarmAction::Get, AlarmType::None, None);
        let alarms = self.maintain("read the alarms of", alarms).await?;
        let full: Vec<u64> = alarms
            .alarms()
            .iter()
            .filter(|alarm| alarm.alarm() == AlarmType::Nospace)
            .map(|alarm| alarm.member_id())
            .collect();
        let (before, after) = (size(&status), size(&self.maintain("read the size of", client.status()).await?));
        let is_still_full = !full.is_empty() && after.quota.is_some_and(|quota| after.total >= quota);
        for member in full.iter().filter(|_| !is_still_full) {
            let mut options = AlarmOptions::new();
            options.with_member(*member);
            let disarm = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options));
            self.maintain("end the alarm NOSPACE of", disarm).await?;
        }
        let disarmed = !full.is_empty() && !is_still_full;
        Ok(Compacted { revision, before, after, disarmed, is_still_full })
    }

    async fn maintain<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        self.call_within(LONG, || Operation::Maintain(what), call).await
    }
}

fn size(status: &StatusResponse) -> DatabaseSize {
    let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
    DatabaseSize {
        total: bytes(status.db_size()),
        in_use: bytes(status.raft_used_db_size()),
        quota: Some(bytes(status.db_size_quota())).filter(|quota| *quota > 0),
    }
}
