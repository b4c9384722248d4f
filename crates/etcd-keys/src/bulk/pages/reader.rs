//! The position of a paged read, and how it gets the next page. The first request is a `Range`, whose answer has the
//! revision and the count. Then come more `Range`s, or one `RangeStream` if the server has it (etcd 3.7: about 60 % of the
//! time and half the memory for 1M keys of 64 bytes).

use std::time::Duration;

use etcd_client::{GetOptions, GetResponse, GetStreamResponse, KeyValue, KvClient};
use tonic::Code;

use super::{Page, PageSize};
use crate::client::compaction::with_revisions;
use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::{KeyRange, successor};
use crate::client::retry::{RETRY_TIMEOUT, Retry};

/// The size limit of an answer, in bytes. A larger page is refused before it is read, and requested again with fewer keys.
/// The limit is four times the intended size, because values can differ much in size.
const LARGEST_PAGE: usize = 32 << 20;

/// The bytes on the wire for each key besides key and value: revisions, version, lease, tags.
const OVERHEAD: usize = 24;

pub(super) struct Reader {
    connection: Connection,
    range: KeyRange,
    /// The length of the namespace's prefix in each key.
    pub(super) prefix: usize,
    /// 0 before the first answer.
    pub(super) revision: i64,
    pub(super) keys_only: bool,
    /// How many more keys to read.
    pub(super) wanted: u64,
    /// `None`: the default for keys with or without values.
    pub(super) size: Option<PageSize>,
    /// How long to retry if the server goes away.
    pub(super) retry_timeout: Duration,
    /// The number of keys to request next; 0 before the first request.
    keys: u32,
    /// The next page's first key; `None` after the last page.
    from: Option<Vec<u8>>,
    end: Vec<u8>,
    cluster_id: Option<u64>,
    /// The number of keys of the range that were not read yet. Ignores the limit.
    left: u64,
    streaming: Streaming,
}

/// Whether the remaining keys come as a stream.
enum Streaming {
    /// No stream yet, or the stream broke.
    Untried,
    /// The server is older than 3.7, or a proxy does not support streams.
    Unsupported,
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
            retry_timeout: RETRY_TIMEOUT,
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

    /// The revision of the read and the cluster id, after the first answer.
    pub(super) fn seen(&self) -> Option<(i64, u64)> {
        self.cluster_id.map(|cluster_id| (self.revision, cluster_id))
    }

    pub(super) async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        let mut retry = Retry::new(self.retry_timeout);
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

    /// One request or message; `None`: no keys yet, take another step.
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
            Err(error) if is_unimplemented(&error) => self.streaming = Streaming::Unsupported,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<GetResponse>, Error> {
        // The stream is kept only if this message arrives.
        let Streaming::Open(mut stream) = std::mem::replace(&mut self.streaming, Streaming::Untried) else {
            return Ok(None);
        };
        match self.connection.call(|| Operation::Read(self.range.clone()), stream.message()).await {
            Ok(Some(answer)) => {
                self.streaming = Streaming::Open(stream);
                Ok(Some(answer))
            }
            // A complete stream ends with a header, which ends the read. This stream broke off.
            Ok(None) => Err(self.error(ErrorKind::Unreachable)),
            // Some servers report this only with the first message.
            Err(error) if is_unimplemented(&error) => {
                self.streaming = Streaming::Unsupported;
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

    /// A request for a single key has no size limit of ours.
    fn client(&self, keys: u32) -> KvClient {
        let client = self.connection.kv();
        if keys > 1 { client.max_decoding_message_size(LARGEST_PAGE) } else { client }
    }

    /// Applies an answer; `None` if it had no keys.
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
