//! What the record of a workspace's instance, `.etcd/<instance>/instance.json`, tells those who only want to reach it:
//! where, and which cluster. The rest of it is etcd-local's.

use std::fs;
use std::io;
use std::path::Path;

use etcd_keys::Connection;
use serde::Deserialize;

/// An instance that runs, by the word of its record. By now another server may have its port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Client URLs.
    pub endpoints: Vec<String>,
    /// The cluster's id; `None`: the record does not say, and proves nothing.
    pub cluster_id: Option<u64>,
}

#[derive(Deserialize)]
struct Record {
    endpoints: Vec<String>,
    pids: Vec<u32>,
    /// 16 hexadecimal digits; absent until it is known.
    cluster_id: Option<String>,
}

impl Instance {
    /// The instance of a record, if it runs. A damaged record is put right by the next `etcd-up`, and until then there
    /// is none.
    ///
    /// # Errors
    /// If there is a record, and it cannot be read.
    pub fn running(record: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let found = serde_json::from_slice(&text).ok().filter(|record: &Record| !record.pids.is_empty());
        Ok(found.map(|Record { endpoints, cluster_id, .. }| {
            let cluster_id = cluster_id.and_then(|id| u64::from_str_radix(&id, 16).ok());
            Self { endpoints, cluster_id }
        }))
    }

    /// Whether it may be what answers there: another cluster it is not. One that does not say denies everything else,
    /// too.
    #[must_use]
    pub fn may_be(&self, connection: &Connection) -> bool {
        connection.cluster_id().is_none_or(|answers| self.cluster_id == Some(answers))
    }
}
