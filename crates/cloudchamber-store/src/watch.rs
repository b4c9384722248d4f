//! Watching a record, or all records below a prefix: changes in order, and never a silent gap.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use etcd_keys::KeyRange;
use etcd_keys::watch as etcd;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Failure};
use crate::key::{Key, Prefix};
use crate::record::{Record, decode};
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

/// What a watch returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record changed.
    Change(Change),
    /// A gap: etcd has compacted these revisions before the watch could read them. The changes that follow are the
    /// difference between the records before the gap and now. All records follow instead if the watch does not know the
    /// records before the gap: if the gap is at its beginning, or the keys are more than it remembers (128 MiB).
    Missed {
        /// The first revision of the gap.
        from: i64,
        /// The last revision of the gap.
        to: i64,
        /// Whether all records follow: forget the records that you know, as after a reset, as some may be deleted.
        all: bool,
    },
    /// Another cluster answers, or the cluster lost its data: forget the records that you know. All records follow, as
    /// created.
    Reset {
        /// The revision that the watch begins with again.
        revision: i64,
    },
}

impl Event {
    /// The change, if the event is one.
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
    /// The record is new.
    Created,
    /// The record has a new value.
    Updated,
    /// The record was deleted.
    Deleted,
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// What happened.
    pub kind: ChangeKind,
    /// The previous value. `None` if the record was created, and if etcd has compacted the value.
    pub old: Option<Vec<u8>>,
    /// The new value. `None` if the record was deleted.
    pub new: Option<Vec<u8>>,
    /// The revision of the change.
    pub revision: i64,
}

impl Change {
    /// The previous value, as a type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRecord`] if the value is not that type in JSON.
    pub fn decode_old<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.decode(self.old.as_deref())
    }

    /// The new value, as a type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRecord`] if the value is not that type in JSON.
    pub fn decode_new<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.decode(self.new.as_deref())
    }

    fn decode<T: DeserializeOwned>(&self, value: Option<&[u8]>) -> Result<Option<T>, Error> {
        value.map(|value| decode(value, &self.key, self.revision)).transpose()
    }
}

/// A watch. It reconnects by itself; dropping it ends it at once.
pub struct Watch {
    /// Held so that the connection stays open until the store is disconnected.
    store: Store,
    /// `None` once it has ended.
    watch: Option<etcd::Watch>,
    target: Target,
    since: i64,
    disconnected: watch::Receiver<bool>,
    closed: watch::Receiver<bool>,
    closer: Closer,
    /// The first revision of the last gap, or 0 after a reset: records created since then are new to the caller.
    missed_from: i64,
}

/// Closes a watch from another task, while [`Watch::next`] waits.
#[derive(Clone, Debug)]
pub struct Closer(Arc<watch::Sender<bool>>);

impl Closer {
    /// Closes the watch at once. Closing it again is not an error.
    pub fn close(&self) {
        self.0.send_replace(true);
    }
}

impl Store {
    /// Watches a record or a prefix from now on: every change after this call returns is an event. The watch remembers
    /// the keys, so that it knows which records were deleted in a [gap](Event::Missed).
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
    /// If etcd refuses or does not answer.
    pub async fn watch(&self, target: impl Into<Target>) -> Result<Watch, Error> {
        let target = target.into();
        let now = self.try_current_revision().await;
        let now = now.map_err(|failure| Error::new(format_args!("watch {target}"), failure))?;
        self.watch_after(target, now)
    }

    async fn try_current_revision(&self) -> Result<i64, Failure> {
        current_revision(&self.keys()?).await
    }

    /// Watches all changes after a revision: the revision that [`Store::list`] returned, say, so that no change in
    /// between is missed. Begins when [`Watch::next`] is first called.
    ///
    /// # Errors
    /// [`ErrorKind::Disconnected`].
    pub fn watch_after(&self, target: impl Into<Target>, revision: i64) -> Result<Watch, Error> {
        let target = target.into();
        let keys = self.keys().map_err(|failure| Error::new(format_args!("watch {target}"), failure))?;
        let range = match &target {
            Target::Key(key) => KeyRange::key(key.as_str()),
            Target::Prefix(prefix) => prefix.to_etcd(),
        };
        let watch = keys.watch(range).from_revision(revision.saturating_add(1)).track().previous_values();
        let (closer, closed) = watch::channel(false);
        self.trace().done(format_args!("watch {target}"), Ok(revision));
        Ok(Watch {
            store: self.clone(),
            watch: Some(watch),
            target,
            since: revision,
            disconnected: self.disconnected(),
            closed,
            closer: Closer(Arc::new(closer)),
            missed_from: i64::MAX,
        })
    }
}

impl Watch {
    /// The revision after which the watch began.
    #[must_use]
    pub fn since(&self) -> i64 {
        self.since
    }

    /// A handle that closes this watch from another task.
    #[must_use]
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Closes the watch, as dropping it does.
    pub fn close(self) {}

    /// The next event. Waits for an event, and while no server answers. Dropping the future loses no event.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] and [`ErrorKind::Disconnected`] are the end of the watch. After any other error, the same
    /// call continues.
    pub async fn next(&mut self) -> Result<Event, Error> {
        let outcome =
            self.try_next().await.map_err(|failure| Error::new(format_args!("watch {}", self.target), failure));
        if let Err(error) = &outcome
            && matches!(error.kind(), ErrorKind::Closed | ErrorKind::Disconnected)
        {
            self.watch = None; // with its connection
        }
        outcome
    }

    async fn try_next(&mut self) -> Result<Event, Failure> {
        loop {
            let notice = self.notice().await?;
            if let Some(event) = self.event(notice)? {
                return Ok(event);
            }
        }
    }

    async fn notice(&mut self) -> Result<etcd::Notice, Failure> {
        let mut closed = pin!(self.closed.wait_for(|closed| *closed));
        let mut disconnected = pin!(self.disconnected.wait_for(|disconnected| *disconnected));
        let mut next = pin!(async {
            match &mut self.watch {
                Some(watch) => watch.recv().await,
                None => std::future::pending().await,
            }
        });
        std::future::poll_fn(|cx| {
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(ErrorKind::Closed.into()));
            }
            if disconnected.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(ErrorKind::Disconnected.into()));
            }
            next.as_mut().poll(cx).map_err(Failure::from)
        })
        .await
    }

    fn event(&mut self, notice: etcd::Notice) -> Result<Option<Event>, Failure> {
        let event = match notice {
            etcd::Notice::Event(event) => Event::Change(self.change(event)?),
            // A record after a reset, or after a gap with more keys than the watch remembers.
            etcd::Notice::Key(kv) => {
                let Record { key, value, revision, created, .. } = Record::from_etcd(kv)?;
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

    fn change(&self, event: etcd::Event) -> Result<Change, Failure> {
        let (created, revision) = (event.kv.create_revision, event.kv.mod_revision);
        let key = Key::from_etcd(event.kv.key, revision)?;
        let is_new = if event.is_difference { created >= self.missed_from } else { created == revision };
        let (kind, new) = match event.kind {
            etcd::EventKind::Delete => (ChangeKind::Deleted, None),
            etcd::EventKind::Put if is_new => (ChangeKind::Created, Some(event.kv.value)),
            etcd::EventKind::Put => (ChangeKind::Updated, Some(event.kv.value)),
        };
        if let Some(value) = &new {
            self.store.trace().value("watch", &key, value);
        }
        Ok(Change { key, kind, old: event.prev_kv.map(|kv| kv.value), new, revision })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({} after {})", self.target, self.since)
    }
}
