//! Watches that never have a silent gap. Every event comes once, in order, across lost connections and
//! restarts; where events cannot be had any more, a [`Notice`] says so, and what changed meanwhile follows.
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
//! Etcd's own defects around watches, and what is done about them:
//! - etcd#18089, #19179: a watch that starts at the very revision of a compaction may lack its deletions. A
//!   watch is resumed only where the revision before can still be read; else it is a gap.
//! - etcd#20221, #19487: a watch may get events older than it asked for. They are dropped.
//! - etcd#15220: a requested progress notification may overtake events. It moves the position only on servers
//!   that have the repair (3.4.25, 3.5.8).
//! - Starting after the newest revision is silence: it is an error, or a reset server.

mod engine;
mod event;
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
use self::known::Known;
use crate::bulk::pages::Page;
use crate::client::connect::Connection;
use crate::client::error::{Error, Operation};
use crate::client::keys::Keys;
use crate::client::kv::KeyValue;
use crate::client::range::KeyRange;

/// Events, or what is to be known about them, many at a time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Batch {
    /// Keys as they stand; [`Batch::Listed`] follows the last ones, or a [`Batch::Gap`] if their revision is compacted
    /// away before that.
    Keys(Page),
    /// The state at `revision` has been told; what follows happened later.
    Listed {
        /// The revision.
        revision: i64,
        /// How many keys there are; 0 where none were asked for.
        keys: u64,
    },
    /// What happened, in order.
    Events(Events),
    /// After a gap, what differs from what was known: what became of the keys that changed, not how.
    Difference(Vec<Event>),
    /// Events were compacted away before they could be had. Told next: the difference, up to
    /// [`Batch::Listed`], if the watch [tracks](Watch::track) and could remember all keys; else all keys.
    Gap {
        /// The first revision of which something may be missing.
        from: i64,
        /// The last one.
        to: i64,
        /// Whether all keys follow, and no difference: those that do not are gone.
        all_keys: bool,
    },
    /// The server lost its data, or another one answers; nothing told before is valid. All keys follow, up to
    /// [`Batch::Listed`].
    Reset {
        /// The cluster before.
        was: u64,
        /// The cluster that answers; the same one, if its revision went back.
        now: u64,
        /// Its revision.
        revision: i64,
    },
}

/// One event, or what is to be known about them; see [`Batch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A key as it stands.
    Key(KeyValue),
    /// See [`Batch::Listed`].
    Listed {
        /// The revision.
        revision: i64,
        /// How many keys there are.
        keys: u64,
    },
    /// Something happened; [`Event::is_difference`] tells whether it was seen or only found out.
    Event(Event),
    /// See [`Batch::Gap`].
    Gap {
        /// The first revision of which something may be missing.
        from: i64,
        /// The last one.
        to: i64,
        /// Whether all keys follow, and no difference: those that do not are gone.
        all_keys: bool,
    },
    /// See [`Batch::Reset`].
    Reset {
        /// The cluster before.
        was: u64,
        /// The cluster that answers.
        now: u64,
        /// Its revision.
        revision: i64,
    },
}

impl Keys {
    /// Follows a range of the namespace; keys are told without the prefix. Nothing is missed in
    /// silence; see [`watch`](crate::watch).
    #[must_use]
    pub fn watch(&self, range: KeyRange) -> Watch {
        let watch = Watch::new(self.connection(), self.namespace().to_full(&range));
        watch.set(|engine| engine.options.prefix = self.namespace().prefix().len())
    }
}

/// A watch, and a [`Stream`] of its notices. It begins when it is first asked, holds one message at a time, and
/// has no task of its own: dropping it ends it at once. Dropping the future of [`Watch::recv`] or
/// [`Watch::recv_batch`] loses nothing.
pub struct Watch {
    state: State,
    connection: Connection,
    /// By full names, for messages.
    range: KeyRange,
    /// Of the last batch, what [`Watch::recv`] has not yet handed out.
    rest: VecDeque<Notice>,
}

type Stepped = (Box<Engine>, Result<Batch, Error>);

enum State {
    Idle(Box<Engine>),
    Busy(Pin<Box<dyn Future<Output = Stepped> + Send>>),
    /// Only while a state is exchanged for another.
    Moving,
}

impl Watch {
    /// A watch of a range by full names, from now on.
    fn new(connection: &Connection, range: KeyRange) -> Self {
        let engine = Box::new(Engine::new(connection.clone(), range.clone()));
        Self { state: State::Idle(engine), connection: connection.clone(), range, rest: VecDeque::new() }
    }

    /// Tells all keys first.
    #[must_use]
    pub fn snapshot(self) -> Self {
        self.set(|engine| engine.options.snapshot = true)
    }

    /// Begins with the events of a revision instead of now. Is it compacted, a gap comes first.
    #[must_use]
    pub fn from_revision(self, revision: i64) -> Self {
        self.set(|engine| engine.options.from = Some(revision.max(1)))
    }

    /// Remembers which keys there are, so that after a gap the difference can be told, deletions too. That takes
    /// memory, each key and some 60 bytes, up to 128 MiB: of more keys than that nothing is remembered, and a gap is
    /// followed by all keys.
    #[must_use]
    pub fn track(self) -> Self {
        self.set(|engine| engine.options.track = true)
    }

    /// How many bytes of keys [`Watch::track`] remembers, for tests: 128 MiB of them take a long time to write.
    #[doc(hidden)]
    #[must_use]
    pub fn remember_at_most(self, bytes: usize) -> Self {
        self.set(|engine| engine.known = Known::at_most(bytes))
    }

    /// Brings the previous value with every event.
    #[must_use]
    pub fn previous_values(self) -> Self {
        self.set(|engine| engine.options.previous = true)
    }

    /// How long a server may be gone before that is an error; for ever, unless said otherwise. Asked again
    /// after the error, the watch goes on where it was.
    #[must_use]
    pub fn outage_timeout(self, timeout: Duration) -> Self {
        self.set(|engine| engine.options.outage_timeout = Some(timeout))
    }

    /// How large a message may be, in bytes, each with at least one revision's events; 128 MiB unless said otherwise.
    /// Larger ones are asked for in pieces, which is slow where events are small: etcd takes seconds for each piece.
    /// Less than 4 MiB is no use: its pieces have some 2 MiB.
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

    /// The next notice. It does not end.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a range that no key can be in;
    /// [`FutureRevision`](crate::ErrorKind::FutureRevision) if it was to begin after the newest revision;
    /// [`Denied`](crate::ErrorKind::Denied); and whatever is the matter when the server was gone for longer than
    /// the outage timeout. Asking again tries again, and misses nothing.
    pub async fn recv(&mut self) -> Result<Notice, Error> {
        poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// The next batch of what happened, without a copy of each event. To be used instead of
    /// [`Watch::recv`], not beside it.
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
            // Only after a panic of the future. Whoever were told to wait would wait for ever.
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

    /// Its waker is never called: what is not ready at once never would be.
    #[tokio::test]
    async fn after_a_panic_nobody_waits_for_ever() {
        let mut watch = Watch::new(&Connection::to_nobody().await, KeyRange::all());
        // As a panic leaves it.
        watch.state = State::Moving;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            let Poll::Ready(Err(error)) = watch.poll_notice(&mut cx) else { panic!("not ready") };
            assert!(error.to_string().contains("panicked"), "{error}");
        }
    }
}
