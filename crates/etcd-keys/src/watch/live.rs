//! One watch on one connection: creates it, and notices when it is dead.

use std::time::Duration;

use etcd_client::{WatchOptions, WatchResponse, WatchStream};

use crate::client::connect::Connection;
use crate::client::error::{Error, ErrorKind, Operation};
use crate::client::range::KeyRange;

/// How long a watch may be silent before a progress notification is requested.
const MAX_SILENCE: Duration = Duration::from_secs(5);
/// The same where another member can take over: a watch is to move on within 3 s.
const MAX_SILENCE_AMONG_MEMBERS: Duration = Duration::from_secs(1);
/// How long sending that request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How to open a watch.
pub(super) struct OpenOptions {
    /// The first revision.
    pub(super) from: i64,
    /// Whether to send previous values.
    pub(super) previous: bool,
    /// The limit for a message, in bytes.
    pub(super) largest: usize,
    /// Whether to send a large message in fragments of about 2 MiB. Only for messages over the limit: for each event that
    /// etcd adds to a fragment, it computes the size of the whole fragment again. etcd 3.7 took more than 10 s for 40,000
    /// small events in fragments, and no measurable time in one message [measured].
    pub(super) fragments: bool,
    /// How long a silent watch may take to answer. A server that is busy preparing our events does not answer.
    pub(super) answer_timeout: Duration,
    /// Whether requested progress notifications can be trusted.
    pub(super) ordered_progress: bool,
}

pub(super) struct Live {
    max_silence: Duration,
    /// Of the connection that the watch is on.
    generation: u64,
    stream: WatchStream,
    answer_timeout: Duration,
    /// A progress notification was requested, and no message has come since.
    progress_requested: bool,
    pub(super) ordered_progress: bool,
}

impl Live {
    /// Creates a watch. Also returns etcd's first message, which confirms the watch or says why there is none.
    pub(super) async fn open(
        connection: &Connection,
        range: &KeyRange,
        options: &OpenOptions,
    ) -> Result<(Self, WatchResponse), Error> {
        let (key, end) = range.to_wire();
        let mut watch = WatchOptions::new().with_start_revision(options.from).with_progress_notify();
        if options.fragments {
            watch = watch.with_fragment();
        }
        if !end.is_empty() {
            watch = watch.with_range(end);
        }
        if options.previous {
            watch = watch.with_prev_key();
        }
        let operation = || Operation::Watch(range.clone());
        let generation = connection.generation();
        let created = async {
            let mut stream =
                connection.watches().max_decoding_message_size(options.largest).watch(key, Some(watch)).await?;
            let first = stream.message().await?;
            Ok(first.map(|first| (stream, first)))
        };
        match connection.call(operation, created).await? {
            Some((stream, first)) => {
                let max_silence = if connection.has_other_members() { MAX_SILENCE_AMONG_MEMBERS } else { MAX_SILENCE };
                let (answer_timeout, ordered_progress) = (options.answer_timeout, options.ordered_progress);
                Ok((
                    Self {
                        max_silence,
                        generation,
                        stream,
                        answer_timeout,
                        progress_requested: false,
                        ordered_progress,
                    },
                    first,
                ))
            }
            None => Err(connection.error(operation(), ErrorKind::Unreachable)),
        }
    }

    /// Leaves the connection: its member does not serve this watch.
    pub(super) async fn leave(self, connection: &Connection) {
        connection.leave(self.generation).await;
    }

    /// The next message. A watch that stays silent after a progress request is dead, even if its TCP connection is open.
    pub(super) async fn message(&mut self) -> Result<WatchResponse, Failure> {
        loop {
            let timeout = if self.progress_requested { self.answer_timeout } else { self.max_silence };
            match tokio::time::timeout(timeout, self.stream.message()).await {
                Ok(Ok(Some(response))) => {
                    self.progress_requested = false;
                    return Ok(response);
                }
                Ok(Ok(None)) => return Err(Failure::Gone(ErrorKind::Unreachable)),
                Ok(Err(error)) => return Err(Failure::Broken(error)),
                Err(_) if self.progress_requested => return Err(Failure::Gone(ErrorKind::TimedOut)),
                Err(_) => {
                    self.progress_requested = true;
                    let requested = tokio::time::timeout(REQUEST_TIMEOUT, self.stream.request_progress());
                    if !matches!(requested.await, Ok(Ok(()))) {
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
