//! A run's heartbeat: `.alive` on a lease, put again whenever it is gone, until another process takes the run.

use std::time::Duration;

use etcd_client::CompareOp;
use etcd_keys::kv::{Compare, Put, Txn};
use etcd_keys::range::successor;
use etcd_keys::watch::{EventKind, Notice, Watch};
use etcd_keys::{Keeper, KeyRange, Keys};
use tokio::sync::watch;

/// How long a keeper waits before it tries again.
const RETRY: Duration = Duration::from_millis(200);

/// `.alive`, and what is needed to keep it there, whatever others write below the run's prefix.
pub(crate) struct Heartbeat {
    pub(crate) keys: Keys,
    /// The record's key, and the revision that wrote it.
    pub(crate) record: String,
    pub(crate) revision: i64,
    pub(crate) alive: String,
    pub(crate) ttl: Duration,
}

impl Heartbeat {
    /// Keeps `.alive` there, on a new lease whenever the old one may have expired, until another process takes the run.
    pub(crate) async fn keep(self, mut keeper: Keeper, lost: watch::Sender<bool>) {
        let both = KeyRange::between(self.alive.as_str(), successor(self.record.as_bytes()));
        let mut watch = self.keys.watch(both).from_revision(self.revision + 1);
        loop {
            tokio::select! {
                () = keeper.lost() => {}
                () = self.disturbed(&mut watch) => {}
            }
            match self.renewed().await {
                Some(new) => {
                    let old = std::mem::replace(&mut keeper, new);
                    // The old lease may not have expired; no key is on it any more.
                    drop(old.lease().revoke().await);
                }
                None => {
                    lost.send_replace(true);
                    return;
                }
            }
        }
    }

    /// Retries until etcd answers, however long it is away: the watch does not report the same change twice.
    async fn renewed(&self) -> Option<Keeper> {
        loop {
            match self.renew().await {
                Ok(decided) => return decided,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Returns when the record was changed or the heartbeat deleted, or when that may have happened.
    async fn disturbed(&self, watch: &mut Watch) {
        loop {
            match watch.recv().await {
                Ok(Notice::Event(event)) if event.kv.key == self.record.as_bytes() => return,
                Ok(Notice::Event(event))
                    if event.kind == EventKind::Delete && event.kv.key == self.alive.as_bytes() =>
                {
                    return;
                }
                Ok(Notice::Gap { .. } | Notice::Reset { .. }) => return,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Puts `.alive` on a new lease; `None`: another process has taken the run.
    async fn renew(&self) -> Result<Option<Keeper>, etcd_keys::Error> {
        let lease = self.keys.grant(self.ttl).await?;
        let txn = Txn::new()
            .when(Compare::mod_revision(KeyRange::key(self.record.as_str()), CompareOp::Equal, self.revision))
            .then(Put::new(self.alive.as_str(), "").lease(lease.id()));
        if !self.keys.send(txn).await?.succeeded {
            drop(lease.revoke().await);
            return Ok(None);
        }
        lease.keep().await.map(Some)
    }
}
