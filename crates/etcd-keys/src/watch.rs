//! Watches without silent gaps. Every event comes once and in order, across lost connections and restarts. If events are
//! lost, because they were compacted or the server was reset, a [`Notice`] says so, and the changes follow.
//!
//! ```no_run
//! # async fn example() -> Result<(), etcd_keys::Error> {
//! use etcd_keys::watch::Notice;
//! use etcd_keys::{Connect, KeyRange};
//!
//! let connection = Connect::new(["127.0.0.1:2379"]).connect().await?;
//! let keys = connection.keys("/Inventory/v1/")?;
//! let mut watch = keys.watch(KeyRange::prefix("racks/")).snapshot().track();
//! loop {
//!     match watch.recv().await? {
//!         Notice::Event(event) => println!("{:?} {:?}", event.kind, event.kv),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # }
//! ```
//!
//! etcd's bugs in watches, and how this module handles them:
//! - etcd#18089, #19179: a watch that starts at the revision of a compaction may lack that revision's deletions. On such
//!   servers a watch resumes only if the revision before can still be read; else there is a gap.
//! - etcd#20221, #19487: a watch may get events from before its start. They are dropped.
//! - etcd#15220: a requested progress notification may overtake events. It moves the position only on servers with the fix
//!   (3.4.25, 3.5.8).
//! - A watch that starts after the newest revision gets no events at all. Here it is an error, or a reset if the watch was
//!   already running.

mod engine;
mod event;
mod history;
mod known;
mod live;
mod position;
mod server;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use self::engine::Engine;
pub use self::event::{Event, EventKind, EventRef, Events};
pub use self::history::History;
use self::known::Known;
use crate::bulk::pages::Page;
use crate::client::connect::Connection;
use crate::client::error::{Error, Operation};
use crate::client::keys::Keys;
use crate::client::kv::KeyValue;
use crate::client::range::KeyRange;

/// Events and notices about them, many at a time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Batch {
    /// Existing keys. [`Batch::Listed`] follows the last of them, or [`Batch::Gap`] if their revision is compacted before
    /// that.
    Keys(Page),
    /// All keys at `revision` have been reported. Later events follow.
    Listed {
        /// The revision.
        revision: i64,
        /// The number of keys; 0 if no snapshot was asked for.
        keys: u64,
    },
    /// Events, in order.
    Events(Events),
    /// After a gap, the difference from the known keys: the final state of each changed key, not the events in between.
    Difference(Vec<Event>),
    /// Events were compacted away before they were received. Up to [`Batch::Listed`], the difference follows if the watch
    /// [tracks](Watch::track) keys and could remember all of them; else all keys follow.
    Gap {
        /// The first revision that may have lost events.
        from: i64,
        /// The last such revision.
        to: i64,
        /// Whether all keys follow instead of the difference. Keys that are not among them are deleted.
        all_keys: bool,
    },
    /// The server lost its data, or another cluster answers. Everything reported before is invalid. All keys follow, up
    /// to [`Batch::Listed`].
    Reset {
        /// The id of the cluster before.
        was: u64,
        /// The id of the cluster that answers now. It is the same id if the cluster's revision went back.
        now: u64,
        /// Its revision.
        revision: i64,
    },
}

/// One event or notice; see [`Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An existing key.
    Key(KeyValue),
    /// See [`Batch::Listed`].
    Listed {
        /// The revision.
        revision: i64,
        /// The number of keys.
        keys: u64,
    },
    /// An event; [`Event::is_difference`] says whether it was received or computed after a gap.
    Event(Event),
    /// See [`Batch::Gap`].
    Gap {
        /// The first revision that may have lost events.
        from: i64,
        /// The last such revision.
        to: i64,
        /// Whether all keys follow instead of the difference. Keys that are not among them are deleted.
        all_keys: bool,
    },
    /// See [`Batch::Reset`].
    Reset {
        /// The id of the cluster before.
        was: u64,
        /// The id of the cluster that answers now.
        now: u64,
        /// Its revision.
        revision: i64,
    },
}

impl Keys {
    /// Watches a range of the namespace. Keys come without the namespace's prefix. No event is lost without a notice: see
    /// [`watch`](crate::watch).
    #[must_use]
    pub fn watch(&self, range: KeyRange) -> Watch {
        let watch = Watch::new(self.connection(), self.namespace().to_full(&range));
        watch.set(|engine| engine.options.prefix = self.namespace().prefix().len())
    }
}

/// A watch, and a [`Stream`] of its notices. It starts at the first call of [`Watch::recv`], holds one message at a time,
/// and has no background task: dropping it ends it at once. Dropping the future of [`Watch::recv`] or
/// [`Watch::recv_batch`] loses nothing.
pub struct Watch {
    state: State,
    connection: Connection,
    /// With full names, for messages.
    range: KeyRange,
    /// The notices of the last batch that [`Watch::recv`] has not handed out yet.
    rest: VecDeque<Notice>,
}

type Stepped = (Box<Engine>, Result<Batch, Error>);

enum State {
    Idle(Box<Engine>),
    Busy(Pin<Box<dyn Future<Output = Stepped> + Send>>),
    /// Only during a change of state.
    Moving,
}

impl Watch {
    /// A watch from now on, of a range with full names.
    fn new(connection: &Connection, range: KeyRange) -> Self {
        let engine = Box::new(Engine::new(connection.clone(), range.clone()));
        Self { state: State::Idle(engine), connection: connection.clone(), range, rest: VecDeque::new() }
    }

    /// Reports all existing keys first.
    #[must_use]
    pub fn snapshot(self) -> Self {
        self.set(|engine| engine.options.snapshot = true)
    }

    /// Starts with the events of a revision instead of now. If the revision is compacted, a gap comes first.
    #[must_use]
    pub fn from_revision(self, revision: i64) -> Self {
        self.set(|engine| engine.options.from = Some(revision.max(1)))
    }

    /// Remembers the existing keys, so that a gap is followed by the difference, with deletions. Each key takes its length
    /// and about 60 bytes of memory, up to 128 MiB in all. With more keys, nothing is remembered, and a gap is followed by
    /// all keys.
    #[must_use]
    pub fn track(self) -> Self {
        self.set(|engine| engine.options.track = true)
    }

    /// The memory limit of [`Watch::track`] in bytes, for tests: writing 128 MiB of keys takes long.
    #[doc(hidden)]
    #[must_use]
    pub fn remember_at_most(self, bytes: usize) -> Self {
        self.set(|engine| engine.known = Known::at_most(bytes))
    }

    /// Adds the previous value to every event.
    #[must_use]
    pub fn previous_values(self) -> Self {
        self.set(|engine| engine.options.previous = true)
    }

    /// How long the server may be unreachable before the watch returns an error. By default the watch waits for ever. After
    /// the error, the next call continues where the watch was.
    #[must_use]
    pub fn outage_timeout(self, timeout: Duration) -> Self {
        self.set(|engine| engine.options.outage_timeout = Some(timeout))
    }

    /// The limit for a message, in bytes. A message has all events of at least one revision. The default is 128 MiB, the
    /// minimum 4 MiB. Larger messages are requested in fragments of about 2 MiB, which is slow if events are small: etcd
    /// takes seconds for each fragment.
    #[must_use]
    pub fn largest_message(self, bytes: usize) -> Self {
        self.set(|engine| engine.options.largest = bytes.max(4 << 20))
    }

    fn set(mut self, change: impl FnOnce(&mut Engine)) -> Self {
        if let State::Idle(engine) = &mut self.state {
            change(engine);
        }
        self
    }

    /// The next notice. A watch has no end.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a range that no key can be in;
    /// [`FutureRevision`](crate::ErrorKind::FutureRevision) for a start after the newest revision;
    /// [`Denied`](crate::ErrorKind::Denied); and, after the outage timeout, the reason why the server cannot be reached.
    /// Calling it again tries again and loses no event.
    pub async fn recv(&mut self) -> Result<Notice, Error> {
        poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// The next batch of notices, without a copy of each event. Use either this or [`Watch::recv`], not both.
    ///
    /// # Errors
    /// As [`Watch::recv`].
    pub async fn recv_batch(&mut self) -> Result<Batch, Error> {
        poll_fn(|cx| self.poll_batch(cx)).await
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<Batch, Error>> {
        let mut busy = match std::mem::replace(&mut self.state, State::Moving) {
            State::Idle(engine) => Box::pin(step(engine)),
            State::Busy(busy) => busy,
            // Only after a panic of the future. `Pending` would make the caller wait for ever.
            State::Moving => {
                let kind = crate::ErrorKind::Etcd {
                    code: "client".to_owned(),
                    message: "the watch panicked before".to_owned(),
                };
                return Poll::Ready(Err(self.connection.error(Operation::Watch(self.range.clone()), kind)));
            }
        };
        match busy.as_mut().poll(cx) {
            Poll::Ready((engine, batch)) => {
                self.state = State::Idle(engine);
                Poll::Ready(batch)
            }
            Poll::Pending => {
                self.state = State::Busy(busy);
                Poll::Pending
            }
        }
    }

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Result<Notice, Error>> {
        loop {
            if let Some(notice) = self.rest.pop_front() {
                return Poll::Ready(Ok(notice));
            }
            match self.poll_batch(cx) {
                Poll::Ready(Ok(batch)) => self.rest.extend(notices(batch)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

async fn step(mut engine: Box<Engine>) -> Stepped {
    let batch = engine.next().await;
    (engine, batch)
}

fn notices(batch: Batch) -> VecDeque<Notice> {
    match batch {
        Batch::Keys(page) => page.into_entries().map(Notice::Key).collect(),
        Batch::Events(events) => events.iter().map(|event| Notice::Event(event.to_owned())).collect(),
        Batch::Difference(events) => events.into_iter().map(Notice::Event).collect(),
        Batch::Listed { revision, keys } => [Notice::Listed { revision, keys }].into(),
        Batch::Gap { from, to, all_keys } => [Notice::Gap { from, to, all_keys }].into(),
        Batch::Reset { was, now, revision } => [Notice::Reset { was, now, revision }].into(),
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({} at {})", self.range, self.connection.endpoint())
    }
}

impl Stream for Watch {
    type Item = Result<Notice, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_notice(cx).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waker does nothing, so that the result must be ready at once.
    #[tokio::test]
    async fn after_a_panic_nobody_waits_for_ever() {
        let mut watch = Watch::new(&Connection::to_nobody().await, KeyRange::all());
        // The state after a panic.
        watch.state = State::Moving;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            let Poll::Ready(Err(error)) = watch.poll_notice(&mut cx) else { panic!("not ready") };
            assert!(error.to_string().contains("panicked"), "{error}");
        }
    }
}
