//! A run's heartbeat: `.alive` on a lease, put back whenever it is gone, until the run is somebody else's.

use std::time::Duration;

use etcd_client::CompareOp;
use etcd_keys::kv::{Compare, Put, Txn};
use etcd_keys::range::successor;
use etcd_keys::watch::{EventKind, Notice, Watch};
use etcd_keys::{Keeper, KeyRange, Keys};
use tokio::sync::watch;

/// How long a keeper waits before it tries again.
const RETRY: Duration = Duration::from_millis(200);

/// `.alive`, and what it takes to keep it there, whoever else writes below the run's prefix.
pub(crate) struct Heartbeat {
    pub(crate) keys: Keys,
    /// The record's key, and the revision that wrote it.
    pub(crate) record: String,
    pub(crate) revision: i64,
    pub(crate) alive: String,
    pub(crate) ttl: Duration,
}

impl Heartbeat {
    /// Keeps it there, on a new lease whenever the old one may have run out, until the run is somebody else's.
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
                    // It may live after all; nothing is on it any more.
                    drop(old.lease().revoke().await);
                }
                None => {
                    lost.send_replace(true);
                    return;
                }
            }
        }
    }

    /// Tries until it is decided, however long etcd is away: nobody tells of the same disturbance again.
    async fn renewed(&self) -> Option<Keeper> {
        loop {
            match self.renew().await {
                Ok(decided) => return decided,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Returns when somebody did something to the record or took the heartbeat away, or may have.
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

    /// Puts it there anew; `None`: the run is somebody else's.
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
