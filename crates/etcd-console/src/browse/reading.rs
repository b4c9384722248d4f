//! Requests for what the screen lacks: one at a time, in the background. A request that is not wanted any more is dropped.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use etcd_keys::{Error, KeyRange, Keys, Redaction, kv};

use super::value::Value;

/// How many keys are asked for at once.
const LIMIT: i64 = 100;
/// How long the keys of a folder are counted.
const COUNT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the screen lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The first keys of a range, without values.
    Keys(KeyRange),
    /// The value of a key at a revision; 0 is the newest.
    Value(Vec<u8>, i64),
    /// The number of keys in a folder.
    Count(Vec<u8>),
}

pub(super) enum Answer {
    /// The first keys of the range, how many keys it has, and the newest revision.
    Keys(Vec<Vec<u8>>, i64, i64),
    /// The value at this revision; 0 is the newest.
    Value(Value, i64),
    /// The folder, and its keys, unless counting took too long; and the newest revision.
    Count(Vec<u8>, Option<i64>, i64),
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Error>>>>;

pub(super) struct Reader {
    all: Keys,
    redaction: Redaction,
    current: Option<(Wanted, Answering)>,
}

impl Reader {
    pub(super) fn new(all: Keys, redaction: Redaction) -> Self {
        Self { all, redaction, current: None }
    }

    /// Sends a request, unless it is under way already.
    pub(super) fn ask(&mut self, wanted: Option<Wanted>) {
        if self.current.as_ref().map(|(wanted, _)| wanted) != wanted.as_ref() {
            let send = |wanted: Wanted| -> (Wanted, Answering) {
                (wanted.clone(), Box::pin(answer(self.all.clone(), self.redaction.clone(), wanted)))
            };
            self.current = wanted.map(send);
        }
    }

    /// The answer; waits for ever if nothing was asked. Dropping the future loses nothing.
    pub(super) async fn answer(&mut self) -> Result<Answer, Error> {
        let Some((_, answering)) = &mut self.current else { return pending().await };
        let answer = answering.as_mut().await;
        self.current = None;
        answer
    }
}

async fn answer(all: Keys, redaction: Redaction, wanted: Wanted) -> Result<Answer, Error> {
    match wanted {
        Wanted::Keys(range) => {
            let found = all.send(kv::Get::range(range).limit(LIMIT).keys_only()).await?;
            Ok(Answer::Keys(found.kvs.into_iter().map(|kv| kv.key).collect(), found.count, found.revision))
        }
        Wanted::Value(key, revision) => {
            let is_hidden = redaction.hides(&key);
            let get = kv::Get::key(key.as_slice()).revision(revision);
            let found = all.send(if is_hidden { get.keys_only() } else { get }).await?;
            Ok(Answer::Value(Value::new(key, found.kvs.into_iter().next(), is_hidden), revision))
        }
        Wanted::Count(folder) => {
            let count = all.send(kv::Get::prefix(folder.as_slice()).count_only());
            match tokio::time::timeout(COUNT_TIMEOUT, count).await {
                Ok(found) => found.map(|found| Answer::Count(folder, Some(found.count), found.revision)),
                Err(_) => Ok(Answer::Count(folder, None, 0)),
            }
        }
    }
}
