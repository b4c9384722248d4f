//! Reads of any size, in pages. All pages show one revision, and memory use is constant.
//!
//! ```no_run
//! # async fn example() -> Result<(), etcd_keys::Error> {
//! use etcd_keys::{Connect, KeyRange, text::Escaped};
//!
//! let connection = Connect::new(["127.0.0.1:2379"]).connect().await?;
//! let keys = connection.keys("/Inventory/v1/")?;
//! let mut racks = keys.pages(KeyRange::prefix("racks/"));
//! while let Some(rack) = racks.try_next().await? {
//!     println!("{} has {} bytes, of revision {}", Escaped(&rack.key), rack.value.len(), rack.mod_revision);
//! }
//! # Ok(())
//! # }
//! ```

mod reader;
mod size;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use self::reader::Reader;
pub use self::size::PageSize;
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::keys::Keys;
use crate::client::kv::KeyValue;
use crate::client::lease_id::LeaseId;
use crate::client::range::KeyRange;

impl Keys {
    /// Reads a range of any size, in pages, at one revision. Keys come without the namespace's prefix.
    #[must_use]
    pub fn pages(&self, range: KeyRange) -> Pages {
        let (connection, namespace) = (self.connection(), self.namespace());
        Pages::new(connection, namespace.to_full(&range)).set(|reader| reader.prefix = namespace.prefix().len())
    }
}

/// One page of a read: keys in order, at the read's revision.
#[derive(Debug)]
pub struct Page {
    entries: Vec<etcd_client::KeyValue>,
    /// How many bytes of each key's full name are the namespace's prefix.
    prefix: usize,
    revision: i64,
    cluster_id: u64,
    left: u64,
}

/// A key of a page, with its value and metadata.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    entry: &'a etcd_client::KeyValue,
    prefix: usize,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(entry: &'a etcd_client::KeyValue, prefix: usize) -> Self {
        Self { entry, prefix }
    }

    /// The key, without the namespace's prefix.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.entry.key().get(self.prefix..).unwrap_or_default()
    }

    /// The value; empty after [`Pages::keys_only`].
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.entry.value()
    }

    /// The revision that created the key after it was last deleted.
    #[must_use]
    pub fn create_revision(&self) -> i64 {
        self.entry.create_revision()
    }

    /// The revision that last wrote the key.
    #[must_use]
    pub fn mod_revision(&self) -> i64 {
        self.entry.mod_revision()
    }

    /// The number of writes since the key was created; 1 at first.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.entry.version()
    }

    /// The key's lease.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseId> {
        LeaseId::new(self.entry.lease())
    }

    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> KeyValue {
        KeyValue {
            key: self.key().to_vec(),
            value: self.value().to_vec(),
            create_revision: self.create_revision(),
            mod_revision: self.mod_revision(),
            version: self.version(),
            lease: self.lease(),
        }
    }
}

impl Page {
    /// The keys in order, with their values except after [`Pages::keys_only`]. A page has at least one key.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.entries.iter().map(|entry| Entry::new(entry, self.prefix))
    }

    /// The same keys, owned. Moves them without a copy.
    pub fn into_entries(self) -> impl ExactSizeIterator<Item = KeyValue> + Send {
        self.into_rest()
    }

    fn into_rest(self) -> Rest {
        Rest { entries: self.entries.into_iter(), prefix: self.prefix }
    }

    /// The same keys, with a prefix of this many bytes cut off each key.
    pub(crate) fn below(self, prefix: usize) -> Self {
        Self { prefix, ..self }
    }

    /// The revision of the whole read.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The id of the cluster that answered.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The number of keys of the range after this page. Ignores the limit.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// The keys of a page, handed out one by one.
#[derive(Default)]
struct Rest {
    entries: std::vec::IntoIter<etcd_client::KeyValue>,
    prefix: usize,
}

impl Iterator for Rest {
    type Item = KeyValue;

    fn next(&mut self) -> Option<KeyValue> {
        self.entries.next().map(|entry| KeyValue::below(self.prefix, entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Rest {}

/// A read in pages, and a [`Stream`] of its keys. Dropping it ends the read. Dropping the future of [`Pages::try_next`] or
/// [`Pages::next_page`] loses nothing: the next call returns the same page.
///
/// If the server goes away, the page is requested again for 5 s, from the same key at the same revision. After an error,
/// the same call can be made again.
pub struct Pages {
    state: State,
    connection: Connection,
    /// With full names, for messages.
    range: KeyRange,
    /// The keys of the last page that [`Pages::try_next`] has not handed out yet.
    rest: Rest,
}

type Fetched = (Box<Reader>, Result<Option<Page>, Error>);

enum State {
    Idle(Box<Reader>),
    Busy(Pin<Box<dyn Future<Output = Fetched> + Send>>),
    /// Only during a change of state.
    Moving,
}

impl Pages {
    /// A read of a range with full names, at the revision of the first page's answer.
    pub(crate) fn new(connection: &Connection, range: KeyRange) -> Self {
        let reader = Box::new(Reader::new(connection.clone(), range.clone()));
        Self { state: State::Idle(reader), connection: connection.clone(), range, rest: Rest::default() }
    }

    /// Reads at this revision; 0 is the newest.
    #[must_use]
    pub fn at_revision(self, revision: i64) -> Self {
        self.set(|reader| reader.revision = revision.max(0))
    }

    /// Reads keys without their values.
    #[must_use]
    pub fn keys_only(self) -> Self {
        self.set(|reader| reader.keys_only = true)
    }

    /// Reads at most this many keys in all.
    #[must_use]
    pub fn limit(self, keys: u64) -> Self {
        self.set(|reader| reader.wanted = keys)
    }

    /// Sets the limits of a page. The default is [`PageSize::of_values`], or [`PageSize::of_keys`] for keys only.
    #[must_use]
    pub fn page_size(self, size: PageSize) -> Self {
        self.set(|reader| reader.size = Some(size))
    }

    /// Does not retry if the server goes away, for callers that retry themselves.
    pub(crate) fn without_retry(self) -> Self {
        self.set(|reader| reader.retry_timeout = Duration::ZERO)
    }

    fn set(mut self, change: impl FnOnce(&mut Reader)) -> Self {
        if let State::Idle(reader) = &mut self.state {
            change(reader);
        }
        self
    }

    /// The next key in order; `None` at the end.
    ///
    /// # Errors
    /// As [`Pages::next_page`].
    pub async fn try_next(&mut self) -> Result<Option<KeyValue>, Error> {
        poll_fn(|cx| self.poll_key(cx)).await
    }

    /// The next page, without a copy of each key; `None` at the end. Use either this or [`Pages::try_next`], not both.
    ///
    /// # Errors
    /// [`ErrorKind::Compacted`] if the revision was compacted before or during the read; [`ErrorKind::FutureRevision`] for a
    /// revision after the newest; and the errors of every read. An error is never reported as the end.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        poll_fn(|cx| self.poll_page(cx)).await
    }

    /// The revision of the read and the id of the cluster, also for a range without keys; `None` before the first answer.
    #[must_use]
    pub fn seen(&self) -> Option<(i64, u64)> {
        match &self.state {
            State::Idle(reader) => reader.seen(),
            State::Busy(_) | State::Moving => None,
        }
    }

    fn poll_key(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<KeyValue>, Error>> {
        loop {
            if let Some(kv) = self.rest.next() {
                return Poll::Ready(Ok(Some(kv)));
            }
            match ready!(self.poll_page(cx))? {
                Some(page) => self.rest = page.into_rest(),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Page>, Error>> {
        let mut busy = match std::mem::replace(&mut self.state, State::Moving) {
            State::Idle(reader) => Box::pin(fetch(reader)),
            State::Busy(busy) => busy,
            // Only after a panic of the future.
            State::Moving => {
                let (code, message) = ("client".to_owned(), "the read panicked before".to_owned());
                let kind = ErrorKind::Etcd { code, message };
                return Poll::Ready(Err(self.connection.error(Operation::Read(self.range.clone()), kind)));
            }
        };
        match busy.as_mut().poll(cx) {
            Poll::Ready((reader, page)) => {
                self.state = State::Idle(reader);
                Poll::Ready(page)
            }
            Poll::Pending => {
                self.state = State::Busy(busy);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({} at {})", self.range, self.connection.endpoint())
    }
}

impl Stream for Pages {
    type Item = Result<KeyValue, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_key(cx).map(Result::transpose)
    }
}

async fn fetch(mut reader: Box<Reader>) -> Fetched {
    let page = reader.next_page().await;
    (reader, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_panic_there_is_an_error_and_no_end() {
        let mut pages = Pages::new(&Connection::to_nobody().await, KeyRange::all());
        // The state after a panic.
        pages.state = State::Moving;
        assert!(pages.next_page().await.unwrap_err().to_string().contains("panicked"));
        assert!(pages.try_next().await.is_err());
    }
}
