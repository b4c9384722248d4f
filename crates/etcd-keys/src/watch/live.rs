//! One watch on one connection: creating it, and hearing that it still lives.

use std::time::Duration;

use etcd_client::{WatchOptions, WatchResponse, WatchStream};

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// How long a watch may be silent before it is asked for its progress.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the asking itself may take.
const ASKING: Duration = Duration::from_secs(5);

/// How a watch is opened.
pub(super) struct Terms {
    /// The first revision.
    pub(super) from: i64,
    /// With previous values.
    pub(super) previous: bool,
    /// Messages of more bytes are refused.
    pub(super) largest: usize,
    /// In pieces of some 2 MiB. Etcd measures all of a piece anew for each event that it adds: 40,000 small events
    /// take 3.7 ten seconds and more, and in one piece none [measured]. So only what is too large otherwise.
    pub(super) fragments: bool,
    /// How long the answer of a silent watch may take. A server that is at work on events for us does not answer.
    pub(super) answer: Duration,
    /// Whether requested progress notifications are believed.
    pub(super) ordered_progress: bool,
}

pub(super) struct Live {
    stream: WatchStream,
    answer: Duration,
    /// Progress was asked for, and nothing has come since.
    asked: bool,
    pub(super) ordered_progress: bool,
}

impl Live {
    /// Creates a watch; also answers etcd's first message, which says that it did, or why not.
    pub(super) async fn open(
        connection: &Connection,
        range: &KeyRange,
        terms: &Terms,
    ) -> Result<(Self, WatchResponse), Error> {
        let (key, end) = range.to_wire();
        let mut options = WatchOptions::new().with_start_revision(terms.from).with_progress_notify();
        if terms.fragments {
            options = options.with_fragment();
        }
        if !end.is_empty() {
            options = options.with_range(end);
        }
        if terms.previous {
            options = options.with_prev_key();
        }
        let operation = || Operation::Watch(range.clone());
        let created = async {
            let mut stream =
                connection.watches().max_decoding_message_size(terms.largest).watch(key, Some(options)).await?;
            let first = stream.message().await?;
            Ok(first.map(|first| (stream, first)))
        };
        match connection.call(operation, created).await? {
            Some((stream, first)) => {
                let (answer, ordered_progress) = (terms.answer, terms.ordered_progress);
                Ok((Self { stream, answer, asked: false, ordered_progress }, first))
            }
            None => Err(connection.error(operation(), ErrorKind::Unreachable)),
        }
    }

    /// The next message. A watch that is silent and does not answer either is dead, whatever TCP believes.
    pub(super) async fn message(&mut self) -> Result<WatchResponse, Failure> {
        loop {
            let patience = if self.asked { self.answer } else { SILENCE };
            match tokio::time::timeout(patience, self.stream.message()).await {
                Ok(Ok(Some(response))) => {
                    self.asked = false;
                    return Ok(response);
                }
                Ok(Ok(None)) => return Err(Failure::Gone(ErrorKind::Unreachable)),
                Ok(Err(error)) => return Err(Failure::Broken(error)),
                Err(_) if self.asked => return Err(Failure::Gone(ErrorKind::TimedOut)),
                Err(_) => {
                    self.asked = true;
                    let asking = tokio::time::timeout(ASKING, self.stream.request_progress());
                    if !matches!(asking.await, Ok(Ok(()))) {
                        return Err(Failure::Gone(ErrorKind::Unreachable));
                    }
                }
            }
        }
    }
}

/// How a watch ended.
pub(super) enum Failure {
    Gone(ErrorKind),
    Broken(etcd_client::Error),
}

impl Failure {
    pub(super) fn into_error(self, connection: &Connection, range: &KeyRange) -> Error {
        let operation = Operation::Watch(range.clone());
        match self {
            Self::Gone(kind) => connection.error(operation, kind),
            Self::Broken(error) => {
                let kind = ErrorKind::of(&error);
                Error { source: Some(Box::new(error)), ..connection.error(operation, kind) }
            }
        }
    }
}
