//! What happened to keys: the changes that etcd still has, in order, up to now. A watch that starts in the past and ends.
//!
//! ```no_run
//! # async fn example(keys: etcd_keys::Keys) -> Result<(), etcd_keys::Error> {
//! use etcd_keys::KeyRange;
//!
//! let mut history = keys.history(KeyRange::prefix("racks/"));
//! while let Some(change) = history.try_next().await? {
//!     println!("revision {}: {:?} {:?}", change.kv.mod_revision, change.kind, change.kv.key);
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{WatchOptions, WatchResponse, WatchStream};

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::kv::KeyValue;
use crate::client::range::KeyRange;
use crate::client::redaction::Redaction;
use crate::watch::event::{Event, EventKind, Events};
use crate::watch::server;

/// How long etcd may be silent before it is asked whether more changes follow. etcd does not answer that question while it
/// reads the changes: it is asked again.
const SILENCE: Duration = Duration::from_millis(20);
/// How many such answers show the end on a server whose answers may overtake changes (etcd#15220).
const UNORDERED_ANSWERS: u32 = 10;

impl Keys {
    /// The changes of a range of the namespace that etcd still has, up to now. Keys come without the namespace's prefix.
    #[must_use]
    pub fn history(&self, range: KeyRange) -> History {
        History {
            connection: self.connection().clone(),
            range: self.namespace().to_full(&range),
            prefix: self.namespace().prefix().len(),
            from: 1,
            to: i64::MAX,
            redaction: Redaction::default(),
            phase: Phase::Start,
            ready: VecDeque::new(),
        }
    }
}

/// The changes of a range, oldest first, with previous values. Holds one message of etcd at a time, which has the changes
/// of at most 1,000 revisions.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    range: KeyRange,
    /// How many bytes of each key are the namespace's prefix.
    prefix: usize,
    from: i64,
    to: i64,
    redaction: Redaction,
    phase: Phase,
    ready: VecDeque<Event>,
}

#[derive(Debug)]
enum Phase {
    Start,
    Reading(Box<Reading>),
    /// All changes were read. The watch is still open.
    Reached(Box<Reading>),
    Ended,
}

#[derive(Debug)]
struct Reading {
    stream: WatchStream,
    ordered_progress: bool,
    /// Answers since the last change.
    answers: u32,
    /// How long etcd may be silent until it is asked for the first time.
    silence: Duration,
}

impl History {
    /// Starts at this revision. By default the history starts at the oldest revision that etcd still has.
    #[must_use]
    pub fn from_revision(mut self, revision: i64) -> Self {
        self.from = revision.max(1);
        self
    }

    /// Ends with the changes of this revision, if the cluster has reached it. By default the history ends with the newest
    /// revision at the time of the first call of [`History::try_next`].
    #[must_use]
    pub fn until_revision(mut self, revision: i64) -> Self {
        self.to = revision;
        self
    }

    /// Hides the values of some keys: what [`Redaction::shown`] shows stands in their place.
    #[must_use]
    pub fn redact(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// The first revision whose changes are known: later than asked for, if a compaction has removed older ones. It moves
    /// on if a compaction overtakes the reader; then the changes between the last one and this revision are missing.
    #[must_use]
    pub fn first_revision(&self) -> i64 {
        self.from
    }

    /// The last revision of the history. Final when [`History::try_next`] has returned once.
    #[must_use]
    pub fn last_revision(&self) -> i64 {
        self.to
    }

    /// Goes on with later changes, up to this revision, which the cluster must have reached. To be called when
    /// [`History::try_next`] has returned `None`. etcd answers at once, as the watch is still open: it looks only ten times a
    /// second for new watches that begin in the past.
    pub fn go_on_until(&mut self, revision: i64) {
        self.to = revision;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Reached(reading) => {
                Phase::Reading(Box::new(Reading { answers: 0, silence: Duration::ZERO, ..*reading }))
            }
            // There was nothing to read yet.
            Phase::Ended => Phase::Start,
            phase => phase,
        };
    }

    /// The next change; `None` after the last one. The previous value of a change is missing if it is compacted.
    ///
    /// # Errors
    /// The errors of every request. After an error, the history has ended.
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let is_wanted = |event: &Event| event.kv.mod_revision <= self.to;
            if let Some(event) = self.ready.front() {
                return Ok(if is_wanted(event) { self.ready.pop_front() } else { None });
            }
            match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Start => self.start().await?,
                Phase::Reading(reading) => self.read(reading).await?,
                phase @ (Phase::Reached(_) | Phase::Ended) => {
                    self.phase = phase;
                    return Ok(None);
                }
            }
        }
    }

    async fn start(&mut self) -> Result<(), Error> {
        let now = server::identity(&self.connection, &self.range, 0).await;
        let now = now.map_err(|error| Error { operation: self.operation(), ..error })?;
        self.to = self.to.min(now.revision);
        let ordered_progress = server::fixes(&self.connection).await.orders_progress;
        self.open(ordered_progress).await
    }

    async fn open(&mut self, ordered_progress: bool) -> Result<(), Error> {
        if self.from > self.to || self.range.is_empty() {
            return Ok(());
        }
        let (key, end) = self.range.to_wire();
        let mut options = WatchOptions::new().with_start_revision(self.from).with_prev_key();
        if !end.is_empty() {
            options = options.with_range(end);
        }
        let mut watches = self.connection.watches();
        let stream = self.connection.call(|| self.operation(), watches.watch(key, Some(options))).await?;
        self.phase = Phase::Reading(Box::new(Reading { stream, ordered_progress, answers: 0, silence: SILENCE }));
        Ok(())
    }

    async fn read(&mut self, mut reading: Box<Reading>) -> Result<(), Error> {
        let Some(response) = self.message(&mut reading).await? else {
            return Err(self.connection.error(self.operation(), ErrorKind::Unreachable));
        };
        if response.canceled() {
            return self.cancelled(&reading, &response).await;
        }
        let reached = response.header().map_or(0, etcd_client::ResponseHeader::revision);
        if response.events().is_empty() {
            reading.answers += u32::from(!response.created() && reached >= self.to);
        } else {
            reading.answers = 0;
            let events = Events::new(response, 0);
            let mut newest = 0;
            for event in events.iter() {
                newest = event.kv().mod_revision();
                if newest >= self.from {
                    self.ready.push_back(self.redacted(event.to_owned()));
                }
            }
            if newest > self.to {
                self.phase = Phase::Reached(reading);
                return Ok(());
            }
        }
        let is_at_end = reading.answers >= if reading.ordered_progress { 1 } else { UNORDERED_ANSWERS };
        self.phase = if is_at_end { Phase::Reached(reading) } else { Phase::Reading(reading) };
        Ok(())
    }

    /// The change as it is shown: with a name within the namespace, and without values that are hidden.
    fn redacted(&self, mut event: Event) -> Event {
        if self.redaction.hides(&event.kv.key) {
            let (before, after) = (event.prev_kv.as_ref(), Some(&event.kv).filter(|_| event.kind == EventKind::Put));
            let value = |kv: &KeyValue| kv.value.clone();
            let (before, after) = (before.map(value), after.map(value));
            let (before, after) = self.redaction.shown(&event.kv.key, before.as_deref(), after.as_deref());
            event.prev_kv.iter_mut().zip(before).for_each(|(kv, shown)| kv.value = shown.to_vec());
            event.kv.value = after.unwrap_or_default().to_vec();
        }
        for kv in std::iter::once(&mut event.kv).chain(&mut event.prev_kv) {
            kv.key.drain(..self.prefix.min(kv.key.len()));
        }
        event
    }

    /// The next message. Asks for one when etcd is silent.
    async fn message(&self, reading: &mut Reading) -> Result<Option<WatchResponse>, Error> {
        let asking = async {
            loop {
                match tokio::time::timeout(reading.silence, reading.stream.message()).await {
                    Ok(message) => return message,
                    Err(_) => reading.silence = SILENCE,
                }
                reading.stream.request_progress().await?;
            }
        };
        self.connection.call(|| self.operation(), asking).await
    }

    async fn cancelled(&mut self, reading: &Reading, response: &WatchResponse) -> Result<(), Error> {
        let compacted = response.compact_revision();
        if compacted >= self.from {
            // At the revision of a compaction, deletions may be missing: etcd#18089.
            self.from = compacted + 1;
            return self.open(reading.ordered_progress).await;
        }
        Err(self.connection.error(self.operation(), ErrorKind::of_cancellation(response.cancel_reason())))
    }

    fn operation(&self) -> Operation {
        Operation::ReadHistory(self.range.clone())
    }
}
