//! The position of a paged read and the step from one page to the next: the first page is a `Range`, which
//! tells revision and count; the rest is a `RangeStream` where the server has one (3.7: 1M keys of 64 bytes
//! take some 60 % of the time and half the memory), else more `Range`s.

use std::time::Duration;

use etcd_client::{GetOptions, GetResponse, GetStreamResponse, KeyValue, KvClient};
use tonic::Code;

use super::{Page, PageSize};
use crate::client::compaction::with_revisions;
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::{KeyRange, successor};
use crate::client::retry::{PATIENCE, Retry};

/// The largest page that is accepted, in bytes; larger ones are refused before they are read, and asked for
/// again in smaller pieces. Four times what pages aim at: values may be of very different sizes.
const LARGEST_PAGE: usize = 32 << 20;

/// What a key costs on the wire beside its bytes: revisions, version, lease, tags.
const OVERHEAD: usize = 24;

pub(super) struct Reader {
    connection: Connection,
    range: KeyRange,
    /// How many bytes of each key are the namespace's prefix.
    pub(super) prefix: usize,
    /// 0 until the first answer tells it.
    pub(super) revision: i64,
    pub(super) keys_only: bool,
    /// Keys that are still wanted.
    pub(super) wanted: u64,
    /// `None`: what is usual for what is read.
    pub(super) size: Option<PageSize>,
    /// How long a server that goes away is waited for.
    pub(super) patience: Duration,
    /// What the next page asks for; 0: nothing was read yet.
    keys: u32,
    /// The next page's first key; `None` after the last page.
    from: Option<Vec<u8>>,
    end: Vec<u8>,
    cluster_id: Option<u64>,
    /// Keys of the range that were not read yet, whatever the limit.
    left: u64,
    streaming: Streaming,
}

/// Whether the rest comes as a stream.
enum Streaming {
    /// Not yet: nothing was read, or the stream broke.
    Untried,
    /// The server is older than 3.7, or there is a proxy that knows no streams.
    Unknown,
    Open(Box<GetStreamResponse>),
}

impl Reader {
    pub(super) fn new(connection: Connection, range: KeyRange) -> Self {
        let (key, end) = range.to_wire();
        Self {
            from: (!range.is_empty()).then_some(key),
            connection,
            range,
            prefix: 0,
            revision: 0,
            keys_only: false,
            wanted: u64::MAX,
            size: None,
            patience: PATIENCE,
            keys: 0,
            end,
            cluster_id: None,
            left: 0,
            streaming: Streaming::Untried,
        }
    }

    fn size(&self) -> PageSize {
        let usual = if self.keys_only { PageSize::of_keys } else { PageSize::of_values };
        self.size.unwrap_or_else(usual)
    }

    /// The revision that is read, once an answer told it.
    pub(super) fn seen(&self) -> Option<(i64, u64)> {
        self.cluster_id.map(|cluster_id| (self.revision, cluster_id))
    }

    pub(super) async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        let mut retry = Retry::new(self.patience);
        while self.from.is_some() && self.wanted > 0 {
            let answer = match retry.attempt(self.step()).await {
                Ok(answer) => answer.flatten(),
                Err(error) => return Err(with_revisions(&self.connection, self.revision, error).await),
            };
            if let Some(answer) = answer
                && let Some(page) = self.accept(answer).map_err(|kind| self.error(kind))?
            {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// One request or message; `None`: something was learned, and another step is to follow.
    async fn step(&mut self) -> Result<Option<GetResponse>, Error> {
        if let Streaming::Open(_) = &self.streaming {
            return self.receive().await;
        }
        let keys = if self.keys == 0 { self.size().first.max(1) } else { self.keys };
        let begun = self.cluster_id.is_some();
        if begun && matches!(self.streaming, Streaming::Untried) && self.left.min(self.wanted) > keys.into() {
            self.open_stream().await?;
            return Ok(None);
        }
        let keys = keys.min(u32::try_from(self.wanted).unwrap_or(u32::MAX));
        match self.fetch(keys).await {
            Err(error) if matches!(error.kind, ErrorKind::TooLarge(_)) && keys > 1 => {
                self.keys = PageSize::after_too_large(keys).unwrap_or(1);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    async fn open_stream(&mut self) -> Result<(), Error> {
        let limit = i64::try_from(self.wanted).unwrap_or(0);
        let (from, options) = (self.from.clone().unwrap_or_default(), self.options(limit));
        let operation = || Operation::Read(self.range.clone());
        match self.connection.call(operation, self.connection.kv().get_stream(from, Some(options))).await {
            Ok(stream) => self.streaming = Streaming::Open(Box::new(stream)),
            Err(error) if is_unimplemented(&error) => self.streaming = Streaming::Unknown,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<GetResponse>, Error> {
        // Whatever happens to this message, the next one is received from here only if it came.
        let Streaming::Open(mut stream) = std::mem::replace(&mut self.streaming, Streaming::Untried) else {
            return Ok(None);
        };
        match self.connection.call(|| Operation::Read(self.range.clone()), stream.message()).await {
            Ok(Some(answer)) => {
                self.streaming = Streaming::Open(stream);
                Ok(Some(answer))
            }
            // Its last message has a header and ends the read: this one broke off.
            Ok(None) => Err(self.error(ErrorKind::Unreachable)),
            // Some servers say so only here.
            Err(error) if is_unimplemented(&error) => {
                self.streaming = Streaming::Unknown;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, keys: u32) -> Result<GetResponse, Error> {
        let (from, options) = (self.from.clone().unwrap_or_default(), self.options(keys.into()));
        self.connection.call(|| Operation::Read(self.range.clone()), self.client(keys).get(from, Some(options))).await
    }

    fn options(&self, limit: i64) -> GetOptions {
        let mut options = GetOptions::new().with_limit(limit).with_revision(self.revision);
        if !self.end.is_empty() {
            options = options.with_range(self.end.clone());
        }
        if self.keys_only {
            options = options.with_keys_only();
        }
        options
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.connection.error(Operation::Read(self.range.clone()), kind)
    }

    /// One key alone may be as large as the server lets it be.
    fn client(&self, keys: u32) -> KvClient {
        let client = self.connection.kv();
        if keys > 1 { client.max_decoding_message_size(LARGEST_PAGE) } else { client }
    }

    /// Takes an answer in; `None`: it had no keys.
    fn accept(&mut self, mut answer: GetResponse) -> Result<Option<Page>, ErrorKind> {
        let streamed = matches!(self.streaming, Streaming::Open(_));
        let header = answer.header().map(|header| (header.revision(), header.cluster_id()));
        if let Some((revision, now)) = header {
            let before = *self.cluster_id.get_or_insert(now);
            if before != now {
                return Err(ErrorKind::AnotherCluster { before, now });
            }
            if self.revision == 0 {
                self.revision = revision;
            }
        }
        let (entries, more) = (answer.take_kvs(), answer.more());
        let read = entries.len() as u64;
        self.wanted = self.wanted.saturating_sub(read);
        if streamed {
            self.left = self.left.saturating_sub(read);
            if let Some(last) = entries.last() {
                self.from = Some(successor(last.key()));
            }
            // Only the last message of a stream has a header.
            self.from = self.from.take().filter(|_| header.is_none());
        } else {
            self.left = u64::try_from(answer.count()).unwrap_or(0).saturating_sub(read);
            self.from = entries.last().filter(|_| more).map(|last| successor(last.key()));
            self.keys = self.size().next(u32::try_from(read).unwrap_or(u32::MAX), bytes(&entries));
        }
        let (revision, cluster_id, left) = (self.revision, self.cluster_id.unwrap_or(0), self.left);
        let prefix = self.prefix;
        Ok(Some(Page { entries, prefix, revision, cluster_id, left }).filter(|page| !page.entries.is_empty()))
    }
}

fn bytes(entries: &[KeyValue]) -> usize {
    entries.iter().map(|entry| entry.key().len() + entry.value().len() + OVERHEAD).sum()
}

fn is_unimplemented(error: &Error) -> bool {
    matches!(error.source.as_deref(), Some(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::Unimplemented)
}
