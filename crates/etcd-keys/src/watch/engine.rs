//! The watch as a state machine: it lists keys, watches, and goes back to either state when the server goes away, has
//! compacted the history, or is another cluster. The position moves only past events that were handed out.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::WatchResponse;

use super::Batch;
use super::event::{Event, EventRef, Events};
use super::known::Known;
use super::live::{Failure, Live, OpenOptions};
use super::position::Position;
use super::server::{self, Availability, Identity};
use crate::bulk::pages::{Page, Pages};
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;
use crate::client::retry::Backoff;

/// How long a silent watch may take to answer, at first. Doubled after each timeout: the server may need longer for the
/// next message than we waited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where another member can take over.
const ANSWER_TIMEOUT_AMONG_MEMBERS: Duration = Duration::from_secs(2);
const MAX_ANSWER_TIMEOUT: Duration = Duration::from_secs(320);

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) snapshot: bool,
    pub(super) from: Option<i64>,
    pub(super) track: bool,
    pub(super) previous: bool,
    pub(super) outage_timeout: Option<Duration>,
    pub(super) largest: usize,
    /// The length of the namespace's prefix, which is cut off each key.
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
    /// Whether the reader of the watch was told the keys in `known`. Only then does a difference from them make sense.
    known_is_reported: bool,
    /// While the server is away.
    backoff: Option<Backoff>,
    /// The next message is over the size limit, so fragments are requested.
    fragments: bool,
    /// How long the next watch may take to answer.
    answer_timeout: Duration,
    ready: VecDeque<Batch>,
}

enum Phase {
    /// No request was sent yet.
    Start,
    Listing(Box<Listing>),
    /// The position is known; no watch is open.
    Disconnected,
    Live(Box<Live>),
}

struct Listing {
    pages: Pages,
    /// Announced before the first key.
    reason: ListReason,
    keys: u64,
    /// The start of the next page.
    from: Vec<u8>,
}

/// Why keys are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListReason {
    /// The caller asked for a snapshot.
    Snapshot,
    /// Only to fill `known`.
    Quiet,
    /// Events from this revision on are lost.
    Gap(i64),
    /// Another cluster answers than the one with this id.
    Reset(u64),
    /// The reason was announced. From now on, listed keys are reported like this.
    Announced(Report),
}

/// What is reported of listed keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    Nothing,
    Keys,
    /// The difference from the keys that were known before this revision.
    Difference(i64),
}

fn answer_timeout(connection: &Connection) -> Duration {
    if connection.has_other_members() { ANSWER_TIMEOUT_AMONG_MEMBERS } else { ANSWER_TIMEOUT }
}

impl Engine {
    pub(super) fn new(connection: Connection, range: KeyRange) -> Self {
        let answer_timeout = answer_timeout(&connection);
        Self {
            connection,
            range,
            options: Options::default(),
            phase: Phase::Start,
            position: Position::after(0),
            cluster_id: None,
            known: Known::default(),
            known_is_reported: false,
            backoff: None,
            fragments: false,
            answer_timeout,
            ready: VecDeque::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let stepped = match std::mem::replace(&mut self.phase, Phase::Disconnected) {
                Phase::Start => self.start().await,
                Phase::Listing(listing) => self.list(listing).await,
                Phase::Disconnected => self.resume().await,
                Phase::Live(live) => self.receive_next(live).await,
            };
            match stepped {
                Ok(()) => {}
                Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) && !self.fragments => self.fragments = true,
                Err(error) if error.kind == ErrorKind::UsersChanged => {
                    self.connection.log_in_again().await;
                    self.wait(error).await?;
                }
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
        // After a failure before the first answer, start again.
        self.phase = Phase::Start;
        if self.range.is_empty() {
            let reason = format!("no key can be in {}: the watch would never get an event", self.range);
            return Err(self.error(ErrorKind::Invalid(reason)));
        }
        let before = self.options.from.map(|from| from - 1);
        if let Some(revision) = before {
            match server::availability(&self.connection, &self.range, revision).await? {
                Availability::Available(identity) => self.cluster_id = Some(identity.cluster_id),
                Availability::Compacted => {
                    self.gap(revision + 1);
                    return Ok(());
                }
                Availability::InFuture(_) => return Err(self.error(ErrorKind::FutureRevision(revision + 1))),
            }
        }
        match (self.options.snapshot, self.options.track, before) {
            // There is no key before revision 1, and for etcd revision 0 means the newest.
            (_, _, Some(0)) => self.begin(0, 0),
            (true, ..) => self.list_from(ListReason::Snapshot, before),
            (false, true, _) => self.list_from(ListReason::Quiet, before),
            (false, false, Some(revision)) => self.begin(revision, 0),
            (false, false, None) => {
                let identity = server::identity(&self.connection, &self.range, 0).await?;
                self.cluster_id = Some(identity.cluster_id);
                self.connection.watch_began(&self.range, identity.revision);
                self.begin(identity.revision, 0);
            }
        }
        Ok(())
    }

    /// The state at a revision has been reported. Later events follow.
    fn begin(&mut self, revision: i64, keys: u64) {
        self.known_is_reported = self.options.track;
        self.position = Position::after(revision);
        self.phase = Phase::Disconnected;
        self.ready.push_back(Batch::Listed { revision, keys });
    }

    fn list_from(&mut self, reason: ListReason, revision: Option<i64>) {
        let mut pages = Pages::new(&self.connection, self.range.clone()).at_revision(revision.unwrap_or(0));
        if reason == ListReason::Quiet {
            pages = pages.keys_only();
        }
        self.phase = Phase::Listing(Box::new(Listing { pages, reason, keys: 0, from: Vec::new() }));
    }

    fn gap(&mut self, from: i64) {
        self.list_from(ListReason::Gap(from), None);
    }

    fn reset(&mut self) {
        self.known.clear();
        let was = self.cluster_id.take().unwrap_or(0);
        self.list_from(ListReason::Reset(was), None);
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
        let report = self.announce(&mut listing, Identity { cluster_id, revision });
        let Some(page) = page else {
            if let Report::Difference(_) = report {
                let mut events = Vec::new();
                self.known.pass_rest(&listing.from, revision, &mut events);
                self.push_difference(events);
            }
            self.begin(revision, listing.keys);
            return Ok(());
        };
        listing.keys += page.entries().len() as u64;
        self.report_page(report, page, &mut listing.from);
        match report {
            // `known` has overflowed, so deletions cannot be detected: all keys must follow.
            Report::Difference(from) if self.known.is_overflowed() => self.gap(from),
            _ => self.phase = Phase::Listing(listing),
        }
        Ok(())
    }

    /// Continues a failed listing. If its revision was compacted away, starts a new listing, and announces a gap if keys
    /// were already reported or the caller asked for events from a certain revision.
    fn relist(&mut self, listing: Box<Listing>, error: Error) -> Result<(), Error> {
        match &error.kind {
            ErrorKind::Compacted { .. } => {
                let lost = match listing.reason {
                    ListReason::Announced(Report::Keys | Report::Difference(_)) => {
                        listing.pages.seen().map(|(revision, _)| revision + 1)
                    }
                    ListReason::Snapshot | ListReason::Quiet | ListReason::Announced(Report::Nothing) => {
                        // Known, but not reported.
                        self.known.clear();
                        self.known_is_reported = false;
                        self.options.from
                    }
                    ListReason::Gap(_) | ListReason::Reset(_) => None,
                };
                match (lost, listing.reason) {
                    (Some(from), _) => self.gap(from),
                    (None, ListReason::Announced(Report::Nothing)) => self.list_from(ListReason::Quiet, None),
                    (None, reason) => self.list_from(reason, None),
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

    /// Announces once why keys are listed. Returns what to report of them.
    fn announce(&mut self, listing: &mut Listing, here: Identity) -> Report {
        let report = match listing.reason {
            ListReason::Announced(report) => return report,
            ListReason::Snapshot => Report::Keys,
            ListReason::Quiet => Report::Nothing,
            ListReason::Gap(from) => {
                let known_is_reported = self.known_is_reported && !self.known.is_overflowed();
                self.ready.push_back(Batch::Gap { from, to: here.revision, all_keys: !known_is_reported });
                if !known_is_reported {
                    self.known.clear();
                }
                if known_is_reported { Report::Difference(from) } else { Report::Keys }
            }
            ListReason::Reset(was) => {
                self.ready.push_back(Batch::Reset { was, now: here.cluster_id, revision: here.revision });
                Report::Keys
            }
        };
        // Reported keys are known from now on; quietly listed keys only when all of them are there.
        self.known_is_reported = self.options.track && report != Report::Nothing;
        listing.reason = ListReason::Announced(report);
        report
    }

    fn report_page(&mut self, report: Report, page: Page, from: &mut Vec<u8>) {
        if let Report::Difference(_) = report {
            let mut events = Vec::new();
            for entry in page.entries() {
                self.known.pass(from, entry.key(), page.revision(), &mut events);
                if self.known.insert(entry.key(), entry.mod_revision()) {
                    events.push(Event::found(entry));
                }
            }
            self.push_difference(events);
            return;
        }
        if self.options.track {
            for entry in page.entries() {
                self.known.insert(entry.key(), entry.mod_revision());
            }
        }
        if report == Report::Keys {
            self.ready.push_back(Batch::Keys(page.below(self.options.prefix)));
        }
    }

    fn push_difference(&mut self, mut events: Vec<Event>) {
        for event in &mut events {
            event.kv.key.drain(..self.options.prefix.min(event.kv.key.len()));
        }
        if !events.is_empty() {
            self.ready.push_back(Batch::Difference(events));
        }
    }

    /// Resumes after the position, if the cluster is the same and still has the later events.
    async fn resume(&mut self) -> Result<(), Error> {
        let fixes = server::fixes(&self.connection).await;
        // Events of a revision that was delivered in part come again, so that revision must still be readable. On servers
        // that lose deletions at the revision of a compaction, the revision before must be readable, too.
        let position = &self.position;
        let needed = if fixes.keeps_deletions { position.revision() } else { position.next() - 1 };
        match server::availability(&self.connection, &self.range, needed).await? {
            Availability::Available(here) if self.cluster_id.is_none_or(|known| known == here.cluster_id) => {}
            Availability::Available(_) | Availability::InFuture(_) => {
                self.reset();
                return Ok(());
            }
            Availability::Compacted => {
                self.gap_or_reset().await?;
                return Ok(());
            }
        }
        let options = OpenOptions {
            from: self.position.next(),
            previous: self.options.previous,
            largest: self.options.largest,
            fragments: self.fragments,
            answer_timeout: self.answer_timeout,
            ordered_progress: fixes.orders_progress,
        };
        let (live, first) = Live::open(&self.connection, &self.range, &options).await?;
        self.position.resume();
        self.receive(Box::new(live), first)
    }

    /// The revision is compacted: a gap if the cluster is the same, else a reset.
    async fn gap_or_reset(&mut self) -> Result<(), Error> {
        let here = server::identity(&self.connection, &self.range, 0).await?;
        if self.cluster_id.is_none_or(|known| known == here.cluster_id) {
            self.gap(self.position.next());
        } else {
            self.reset();
        }
        Ok(())
    }

    async fn receive_next(&mut self, mut live: Box<Live>) -> Result<(), Error> {
        match live.message().await {
            Ok(response) => self.receive(live, response),
            Err(failure) => {
                if matches!(failure, Failure::Gone(ErrorKind::TimedOut)) {
                    self.answer_timeout = (self.answer_timeout * 2).min(MAX_ANSWER_TIMEOUT);
                }
                live.leave(&self.connection).await;
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
            // Progress notifications for this watch come in order. Requested ones, which name no watch, may not.
            let is_trusted = !response.created() && (ordered || response.watch_id() >= 0);
            if let Some((_, revision)) = header.filter(|_| is_trusted) {
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
        // The large message has arrived: the next watch may use whole messages again.
        (self.fragments, self.answer_timeout) = (false, answer_timeout(&self.connection));
        if !events.is_empty() {
            self.ready.push_back(Batch::Events(events.below(self.options.prefix)));
        }
    }

    fn cancelled(&mut self, response: &WatchResponse) -> Result<(), Error> {
        if response.compact_revision() > 0 {
            self.gap(self.position.next());
            return Ok(());
        }
        Err(self.error(ErrorKind::of_cancellation(response.cancel_reason())))
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
            engine.list_from(ListReason::Quiet, None);
            let Phase::Listing(listing) = std::mem::replace(&mut engine.phase, Phase::Disconnected) else {
                unreachable!()
            };
            let error = engine.error(kind);
            assert_eq!(engine.relist(listing, error).is_ok(), resets);
            let Phase::Listing(listing) = &engine.phase else { unreachable!() };
            assert_eq!(listing.reason == ListReason::Reset(1), resets);
        }
    }
}
