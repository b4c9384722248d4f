//! The watch as a machine: list, watch, and back to either when the server goes away, has forgotten, or is
//! another one. The position moves only with what is handed out.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::WatchResponse;

use super::Batch;
use super::event::{Event, EventRef, Events};
use super::known::Known;
use super::live::{Failure, Live, Terms};
use super::position::Position;
use super::server::{self, Identity, Standing};
use crate::bulk::pages::{Page, Pages};
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;
use crate::client::retry::Backoff;

/// How long a watch that is silent may take to answer, at first. It gets twice the time whenever it was given up
/// in vain: the server may need longer for the next message than we waited.
const ANSWER: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: Duration = Duration::from_secs(320);

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) snapshot: bool,
    pub(super) from: Option<i64>,
    pub(super) track: bool,
    pub(super) previous: bool,
    pub(super) outage_timeout: Option<Duration>,
    pub(super) largest: usize,
    /// How many bytes of each key are the namespace's prefix, and not told.
    pub(super) prefix: usize,
}

impl Default for Options {
    fn default() -> Self {
        let (snapshot, track, previous) = (false, false, false);
        Self { snapshot, from: None, track, previous, outage_timeout: None, largest: 128 << 20, prefix: 0 }
    }
}

pub(super) struct Engine {
    connection: Connection,
    range: KeyRange,
    pub(super) options: Options,
    phase: Phase,
    position: Position,
    cluster_id: Option<u64>,
    pub(super) known: Known,
    /// Whether whoever listens was told of what is known, so that a difference means something to them.
    remembers: bool,
    /// While the server is away.
    backoff: Option<Backoff>,
    /// The next message is too large to come in one piece.
    fragments: bool,
    /// How long the next watch may take to answer.
    answer: Duration,
    ready: VecDeque<Batch>,
}

enum Phase {
    /// Nothing was asked yet.
    Start,
    Listing(Box<Listing>),
    /// The position is known; no watch is open.
    Apart,
    Live(Box<Live>),
}

struct Listing {
    pages: Pages,
    /// What to say before its first key.
    why: Why,
    keys: u64,
    /// Where the next page begins.
    from: Vec<u8>,
}

/// Why keys are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// They were asked for.
    Snapshot,
    /// Only to be remembered.
    Quiet,
    /// Events from this revision on are lost.
    Gap(i64),
    /// Another server answers than the one with this id.
    Reset(u64),
    /// What there was to say was said: of a snapshot, or after a gap or reset.
    Said(Telling),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    Nothing,
    Keys,
    /// From what was known before this revision.
    Difference(i64),
}

impl Engine {
    pub(super) fn new(connection: Connection, range: KeyRange) -> Self {
        Self {
            connection,
            range,
            options: Options::default(),
            phase: Phase::Start,
            position: Position::after(0),
            cluster_id: None,
            known: Known::default(),
            remembers: false,
            backoff: None,
            fragments: false,
            answer: ANSWER,
            ready: VecDeque::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let stepped = match std::mem::replace(&mut self.phase, Phase::Apart) {
                Phase::Start => self.start().await,
                Phase::Listing(listing) => self.list(listing).await,
                Phase::Apart => self.resume().await,
                Phase::Live(live) => self.hear(live).await,
            };
            match stepped {
                Ok(()) => {}
                Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) && !self.fragments => self.fragments = true,
                Err(error) if error.kind.is_transient() => self.wait(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a server that went away; an error once the outage timeout is over.
    async fn wait(&mut self, error: Error) -> Result<(), Error> {
        let backoff = self.backoff.get_or_insert_with(|| Backoff::new(self.options.outage_timeout));
        if backoff.pause().await {
            return Ok(());
        }
        self.backoff = None;
        Err(error)
    }

    async fn start(&mut self) -> Result<(), Error> {
        // Until something is known, a failure begins here again.
        self.phase = Phase::Start;
        if self.range.is_empty() {
            let why = format!("no key can be in {}, so that nothing would ever happen", self.range);
            return Err(self.error(ErrorKind::Invalid(why)));
        }
        let before = self.options.from.map(|from| from - 1);
        if let Some(revision) = before {
            match server::standing(&self.connection, &self.range, revision).await? {
                Standing::Ready(identity) => self.cluster_id = Some(identity.cluster_id),
                Standing::Compacted => {
                    self.gap(revision + 1);
                    return Ok(());
                }
                Standing::Ahead(_) => return Err(self.error(ErrorKind::FutureRevision(revision + 1))),
            }
        }
        match (self.options.snapshot, self.options.track, before) {
            // Nothing was there before the first revision, and to etcd 0 means the newest.
            (_, _, Some(0)) => self.begin(0, 0),
            (true, ..) => self.list_from(Why::Snapshot, before),
            (false, true, _) => self.list_from(Why::Quiet, before),
            (false, false, Some(revision)) => self.begin(revision, 0),
            (false, false, None) => {
                let identity = server::ask(&self.connection, &self.range, 0).await?;
                self.cluster_id = Some(identity.cluster_id);
                self.begin(identity.revision, 0);
            }
        }
        Ok(())
    }

    /// The state at a revision is told; next come the events after it.
    fn begin(&mut self, revision: i64, keys: u64) {
        self.remembers = self.options.track;
        self.position = Position::after(revision);
        self.phase = Phase::Apart;
        self.ready.push_back(Batch::Listed { revision, keys });
    }

    fn list_from(&mut self, why: Why, revision: Option<i64>) {
        let mut pages = Pages::new(&self.connection, self.range.clone()).at_revision(revision.unwrap_or(0));
        if why == Why::Quiet {
            pages = pages.keys_only();
        }
        self.phase = Phase::Listing(Box::new(Listing { pages, why, keys: 0, from: Vec::new() }));
    }

    fn gap(&mut self, from: i64) {
        self.list_from(Why::Gap(from), None);
    }

    fn reset(&mut self) {
        self.known.clear();
        let was = self.cluster_id.take().unwrap_or(0);
        self.list_from(Why::Reset(was), None);
    }

    async fn list(&mut self, mut listing: Box<Listing>) -> Result<(), Error> {
        let page = match listing.pages.next_page().await {
            Ok(page) => page,
            Err(error) => return self.relist(listing, error),
        };
        self.backoff = None;
        let seen = match &page {
            Some(page) => Some((page.revision(), page.cluster_id())),
            None => listing.pages.seen(),
        };
        let (revision, cluster_id) = seen.unwrap_or((self.position.revision(), self.cluster_id.unwrap_or(0)));
        if self.cluster_id.is_some_and(|known| known != cluster_id) {
            self.reset();
            return Ok(());
        }
        self.cluster_id = Some(cluster_id);
        let telling = self.announce(&mut listing, Identity { cluster_id, revision });
        let Some(page) = page else {
            if let Telling::Difference(_) = telling {
                let mut events = Vec::new();
                self.known.pass_rest(&listing.from, revision, &mut events);
                self.tell(events);
            }
            self.begin(revision, listing.keys);
            return Ok(());
        };
        listing.keys += page.entries().len() as u64;
        self.tell_page(telling, page, &mut listing.from);
        match telling {
            // From here on nobody knows what is gone: all keys have to follow after all.
            Telling::Difference(from) if self.known.is_overflowed() => self.gap(from),
            _ => self.phase = Phase::Listing(listing),
        }
        Ok(())
    }

    /// A listing that failed goes on where it was. Is its revision compacted away, it begins anew, with a gap if
    /// something was told already, or events were to follow from a certain revision on.
    fn relist(&mut self, listing: Box<Listing>, error: Error) -> Result<(), Error> {
        match &error.kind {
            ErrorKind::Compacted { .. } => {
                let lost = match listing.why {
                    Why::Said(Telling::Keys | Telling::Difference(_)) => {
                        listing.pages.seen().map(|(revision, _)| revision + 1)
                    }
                    Why::Snapshot | Why::Quiet | Why::Said(Telling::Nothing) => {
                        // Remembered, but not told.
                        self.known.clear();
                        self.remembers = false;
                        self.options.from
                    }
                    Why::Gap(_) | Why::Reset(_) => None,
                };
                match (lost, listing.why) {
                    (Some(from), _) => self.gap(from),
                    (None, Why::Said(Telling::Nothing)) => self.list_from(Why::Quiet, None),
                    (None, why) => self.list_from(why, None),
                }
                Ok(())
            }
            ErrorKind::FutureRevision(_) | ErrorKind::AnotherCluster { .. } if self.cluster_id.is_some() => {
                self.reset();
                Ok(())
            }
            _ => {
                self.phase = Phase::Listing(listing);
                Err(error)
            }
        }
    }

    /// Says why keys are listed, once; answers what is to be told of them.
    fn announce(&mut self, listing: &mut Listing, here: Identity) -> Telling {
        let telling = match listing.why {
            Why::Said(telling) => return telling,
            Why::Snapshot => Telling::Keys,
            Why::Quiet => Telling::Nothing,
            Why::Gap(from) => {
                let remembers = self.remembers && !self.known.is_overflowed();
                self.ready.push_back(Batch::Gap { from, to: here.revision, all_keys: !remembers });
                if !remembers {
                    self.known.clear();
                }
                if remembers { Telling::Difference(from) } else { Telling::Keys }
            }
            Why::Reset(was) => {
                self.ready.push_back(Batch::Reset { was, now: here.cluster_id, revision: here.revision });
                Telling::Keys
            }
        };
        // What is told from here on is remembered; what is listed quietly, when it is all there.
        self.remembers = self.options.track && telling != Telling::Nothing;
        listing.why = Why::Said(telling);
        telling
    }

    fn tell_page(&mut self, telling: Telling, page: Page, from: &mut Vec<u8>) {
        if let Telling::Difference(_) = telling {
            let mut events = Vec::new();
            for entry in page.entries() {
                self.known.pass(from, entry.key(), page.revision(), &mut events);
                if self.known.insert(entry.key(), entry.mod_revision()) {
                    events.push(Event::found(entry));
                }
            }
            self.tell(events);
            return;
        }
        if self.options.track {
            for entry in page.entries() {
                self.known.insert(entry.key(), entry.mod_revision());
            }
        }
        if telling == Telling::Keys {
            self.ready.push_back(Batch::Keys(page.below(self.options.prefix)));
        }
    }

    fn tell(&mut self, mut events: Vec<Event>) {
        for event in &mut events {
            event.kv.key.drain(..self.options.prefix.min(event.kv.key.len()));
        }
        if !events.is_empty() {
            self.ready.push_back(Batch::Difference(events));
        }
    }

    /// Goes on after the position, if the server there is the one that was left and still has what followed.
    async fn resume(&mut self) -> Result<(), Error> {
        let repairs = server::repairs(&self.connection).await;
        // What was seen of a revision in part comes again, so that one must be left; on servers that lose
        // deletions at the revision of a compaction, the one before as well.
        let position = &self.position;
        let needed = if repairs.keeps_deletions { position.revision() } else { position.next() - 1 };
        match server::standing(&self.connection, &self.range, needed).await? {
            Standing::Ready(here) if self.cluster_id.is_none_or(|known| known == here.cluster_id) => {}
            Standing::Ready(_) | Standing::Ahead(_) => {
                self.reset();
                return Ok(());
            }
            Standing::Compacted => {
                self.gap_or_reset().await?;
                return Ok(());
            }
        }
        let terms = Terms {
            from: self.position.next(),
            previous: self.options.previous,
            largest: self.options.largest,
            fragments: self.fragments,
            answer: self.answer,
            ordered_progress: repairs.orders_progress,
        };
        let (live, first) = Live::open(&self.connection, &self.range, &terms).await?;
        self.position.resume();
        self.receive(Box::new(live), first)
    }

    /// Compacted, by the server that was left or by one that knows nothing of it.
    async fn gap_or_reset(&mut self) -> Result<(), Error> {
        let here = server::ask(&self.connection, &self.range, 0).await?;
        if self.cluster_id.is_none_or(|known| known == here.cluster_id) {
            self.gap(self.position.next());
        } else {
            self.reset();
        }
        Ok(())
    }

    async fn hear(&mut self, mut live: Box<Live>) -> Result<(), Error> {
        match live.message().await {
            Ok(response) => self.receive(live, response),
            Err(failure) => {
                if matches!(failure, Failure::Gone(ErrorKind::TimedOut)) {
                    self.answer = (self.answer * 2).min(LONGEST_ANSWER);
                }
                Err(failure.into_error(&self.connection, &self.range))
            }
        }
    }

    fn receive(&mut self, live: Box<Live>, response: WatchResponse) -> Result<(), Error> {
        let header = response.header().map(|header| (header.cluster_id(), header.revision()));
        if header.is_some_and(|(now, _)| self.cluster_id.is_some_and(|known| known != now)) {
            self.reset();
            return Ok(());
        }
        if response.canceled() {
            return self.cancelled(&response);
        }
        self.backoff = None;
        let ordered = live.ordered_progress;
        self.phase = Phase::Live(live);
        if response.events().is_empty() {
            // Notifications of the watch's own come in order; requested ones, to no watch in particular, may not.
            let believed = !response.created() && (ordered || response.watch_id() >= 0);
            if let Some((_, revision)) = header.filter(|_| believed) {
                self.position.reached(revision);
            }
            return Ok(());
        }
        let entries = response.events().iter().filter_map(etcd_client::Event::kv);
        match self.position.take(entries.map(|entry| (entry.mod_revision(), entry.key()))) {
            Ok(skip) => self.deliver(Events::new(response, skip)),
            Err(_) => self.gap(self.position.next()),
        }
        Ok(())
    }

    fn deliver(&mut self, events: Events) {
        if self.options.track {
            events.iter().for_each(|event: EventRef<'_>| self.known.apply(event));
        }
        // What was hard to get has come: the next watch may ask for whole messages again.
        (self.fragments, self.answer) = (false, ANSWER);
        if !events.is_empty() {
            self.ready.push_back(Batch::Events(events.below(self.options.prefix)));
        }
    }

    fn cancelled(&mut self, response: &WatchResponse) -> Result<(), Error> {
        let reason = response.cancel_reason();
        if response.compact_revision() > 0 {
            self.gap(self.position.next());
            return Ok(());
        }
        let denied = reason.contains("permission denied") || reason.contains("auth");
        // Otherwise: no leader, or the server is going down. Another attempt tells.
        Err(self.error(if denied { ErrorKind::Denied(reason.to_owned()) } else { ErrorKind::Unreachable }))
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.connection.error(Operation::Watch(self.range.clone()), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_another_cluster_is_a_reset() {
        let odd = ErrorKind::Etcd { code: "DataLoss".to_owned(), message: "corrupt cluster".to_owned() };
        for (kind, resets) in [
            (ErrorKind::AnotherCluster { before: 1, now: 2 }, true),
            (ErrorKind::FutureRevision(7), true),
            (odd, false),
        ] {
            let mut engine = Engine::new(Connection::to_nobody().await, KeyRange::all());
            engine.cluster_id = Some(1);
            engine.list_from(Why::Quiet, None);
            let Phase::Listing(listing) = std::mem::replace(&mut engine.phase, Phase::Apart) else { unreachable!() };
            let error = engine.error(kind);
            assert_eq!(engine.relist(listing, error).is_ok(), resets);
            let Phase::Listing(listing) = &engine.phase else { unreachable!() };
            assert_eq!(listing.why == Why::Reset(1), resets);
        }
    }
}
