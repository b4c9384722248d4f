//! Watching a record, or all below a prefix: what is created, updated and deleted, in order, and never a silent gap.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use etcd_keys::KeyRange;
use etcd_keys::watch as etcd;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::fault::Fault;
use crate::key::{Key, Prefix};
use crate::record::{DecodeError, Record};
use crate::store::{Store, current_revision};

/// What is watched: a [`Key`] or a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One record.
    Key(Key),
    /// All records below a prefix.
    Prefix(Prefix),
}

impl From<&Key> for Target {
    fn from(key: &Key) -> Self {
        Self::Key(key.clone())
    }
}

impl From<&Prefix> for Target {
    fn from(prefix: &Prefix) -> Self {
        Self::Prefix(prefix.clone())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Prefix(prefix) => write!(f, "all below `{prefix}`"),
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record changed.
    Change(Change),
    /// etcd has forgotten what happened in these revisions before it could be told. The changes that follow are the
    /// difference between then and now: what became of each record, not how. Where that is not known, as it is before a
    /// watch has begun, and of more keys than it remembers (128 MiB of them), all records follow instead.
    Missed {
        /// The first revision that something may be missing of.
        from: i64,
        /// The last one.
        to: i64,
        /// Whether all records follow, because nobody knows what is gone: forget what you had, as after a reset.
        all: bool,
    },
    /// Another cluster answers, or this one lost its data: nothing that was told is valid any more. All records
    /// follow, as created.
    Reset {
        /// The revision that is told from here on.
        revision: i64,
    },
}

impl Event {
    /// The change, if it is one.
    #[must_use]
    pub fn change(self) -> Option<Change> {
        match self {
            Self::Change(change) => Some(change),
            Self::Missed { .. } | Self::Reset { .. } => None,
        }
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It has another value.
    Updated,
    /// It is gone.
    Deleted,
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: Key,
    /// What happened.
    pub kind: ChangeKind,
    /// The value before. `None` for what was created, and where etcd has forgotten it.
    pub old: Option<Vec<u8>>,
    /// The value now. `None` for what was deleted.
    pub new: Option<Vec<u8>>,
    /// The revision that did it.
    pub revision: i64,
}

impl Change {
    /// The value before, as a type.
    ///
    /// # Errors
    /// If it is not that type in JSON.
    pub fn decode_old<T: DeserializeOwned>(&self) -> Result<Option<T>, DecodeError> {
        self.decode(self.old.as_deref())
    }

    /// The value now, as a type.
    ///
    /// # Errors
    /// If it is not that type in JSON.
    pub fn decode_new<T: DeserializeOwned>(&self) -> Result<Option<T>, DecodeError> {
        self.decode(self.new.as_deref())
    }

    fn decode<T: DeserializeOwned>(&self, value: Option<&[u8]>) -> Result<Option<T>, DecodeError> {
        let failed = |source| DecodeError { key: self.key.clone(), revision: self.revision, source };
        value.map(serde_json::from_slice).transpose().map_err(failed)
    }
}

/// Why a watch did not tell more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// It was closed.
    #[error("the watch is closed")]
    Closed,
    /// It could not be done. [`Fault::Disconnected`] is the end; after others, the watch goes on where it was.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A watch. It goes on by itself when the server was away; dropping it ends it at once.
pub struct Watch {
    /// Held so that nothing but disconnecting ends the connection.
    store: Store,
    /// `None` once it has ended.
    watch: Option<etcd::Watch>,
    target: Target,
    since: i64,
    disconnected: watch::Receiver<bool>,
    closed: watch::Receiver<bool>,
    closer: Closer,
    /// Where the last gap began, or 0 after a reset: what was created since then is new to whoever listens.
    missed_from: i64,
}

/// Closes a watch from elsewhere, while [`Watch::next`] waits.
#[derive(Clone, Debug)]
pub struct Closer(Arc<watch::Sender<bool>>);

impl Closer {
    /// Closes the watch, at once. More than once is no error.
    pub fn close(&self) {
        self.0.send_replace(true);
    }
}

impl Store {
    /// Watches a record or a prefix from now on: whatever happens after this returns is told. The keys that there are
    /// are remembered, so that after a [gap](Event::Missed) deletions can be told, too.
    ///
    /// ```no_run
    /// # async fn example(store: cloudchamber_store::Store) -> Result<(), Box<dyn std::error::Error>> {
    /// use cloudchamber_store::{Event, Root};
    ///
    /// let mut watch = store.watch(&Root::Racks.prefix()).await?;
    /// while let Event::Change(change) = watch.next().await? {
    ///     println!("{:?} {} at {}: {:?}", change.kind, change.key, change.revision, change.new);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn watch(&self, target: impl Into<Target>) -> Result<Watch, WatchError> {
        let now = current_revision(&self.keys()?).await?;
        self.watch_after(target, now)
    }

    /// Watches from after a revision: the one that [`Store::list`] answered, say, so that nothing is missed in
    /// between. Begins when [`Watch::next`] is first called.
    ///
    /// # Errors
    /// [`Fault::Disconnected`].
    pub fn watch_after(&self, target: impl Into<Target>, revision: i64) -> Result<Watch, WatchError> {
        let (keys, target) = (self.keys()?, target.into());
        let range = match &target {
            Target::Key(key) => KeyRange::key(key.to_etcd()),
            Target::Prefix(prefix) => prefix.to_etcd(),
        };
        let watch = keys.watch(range).from_revision(revision.saturating_add(1)).track().previous_values();
        let (closer, closed) = watch::channel(false);
        self.trace().done(format_args!("watch {target}"), Ok::<_, &Fault>(revision));
        Ok(Watch {
            store: self.clone(),
            watch: Some(watch),
            target,
            since: revision,
            disconnected: self.ended(),
            closed,
            closer: Closer(Arc::new(closer)),
            missed_from: i64::MAX,
        })
    }
}

impl Watch {
    /// The revision after which it tells everything.
    #[must_use]
    pub fn since(&self) -> i64 {
        self.since
    }

    /// What closes this watch from elsewhere.
    #[must_use]
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Closes it, as dropping it does.
    pub fn close(self) {}

    /// The next event; waits for it, and for a server that is away. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`WatchError::Closed`], [`Fault::Disconnected`], and whatever etcd refuses.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            let notice = match self.notice().await {
                Ok(notice) => notice,
                Err(WatchError::Fault(fault)) if !matches!(fault, Fault::Disconnected) => return Err(fault.into()),
                Err(end) => {
                    self.watch = None; // with its connection
                    return Err(end);
                }
            };
            if let Some(event) = self.event(notice)? {
                return Ok(event);
            }
        }
    }

    async fn notice(&mut self) -> Result<etcd::Notice, WatchError> {
        let mut closed = pin!(self.closed.wait_for(|closed| *closed));
        let mut disconnected = pin!(self.disconnected.wait_for(|disconnected| *disconnected));
        let mut next = pin!(async {
            match &mut self.watch {
                Some(watch) => watch.next().await.map_err(Fault::of(format_args!("watch {}", self.target))),
                None => std::future::pending().await,
            }
        });
        std::future::poll_fn(|cx| {
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(WatchError::Closed));
            }
            if disconnected.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Fault::Disconnected.into()));
            }
            next.as_mut().poll(cx).map_err(WatchError::Fault)
        })
        .await
    }

    fn event(&mut self, notice: etcd::Notice) -> Result<Option<Event>, WatchError> {
        let event = match notice {
            etcd::Notice::Event(event) => Event::Change(self.change(event)?),
            // After a reset, or a gap among more keys than are remembered: what there is.
            etcd::Notice::Key(kv) => {
                let Record { key, value, revision, created, .. } = Record::from_etcd(kv).map_err(Fault::from)?;
                let kind = if created >= self.missed_from { ChangeKind::Created } else { ChangeKind::Updated };
                Event::Change(Change { key, kind, old: None, new: Some(value), revision })
            }
            etcd::Notice::Gap { from, to, all_keys } => {
                self.missed_from = from;
                Event::Missed { from, to, all: all_keys }
            }
            etcd::Notice::Reset { revision, .. } => {
                self.missed_from = 0;
                Event::Reset { revision }
            }
            _ => return Ok(None),
        };
        Ok(Some(event))
    }

    fn change(&self, event: etcd::Event) -> Result<Change, Fault> {
        let etcd::Event { key, value, previous, revision, created, is_difference, .. } = event;
        let key = Key::from_etcd(key, revision)?;
        let is_new = if is_difference { created >= self.missed_from } else { created == revision };
        let (kind, new) = match event.kind {
            etcd::Kind::Delete => (ChangeKind::Deleted, None),
            etcd::Kind::Put if is_new => (ChangeKind::Created, Some(value)),
            etcd::Kind::Put => (ChangeKind::Updated, Some(value)),
        };
        if let Some(value) = &new {
            self.store.trace().value("watch", &key, value);
        }
        Ok(Change { key, kind, old: previous, new, revision })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({} after {})", self.target, self.since)
    }
}
