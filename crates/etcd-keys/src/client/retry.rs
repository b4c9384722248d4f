//! Waiting out a short absence of the server: growing pauses with a deadline. Decides nothing else.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::error::Error;

/// How long an operation of several requests waits for a server that went away while it was under way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The first pause; each is twice the one before.
const FIRST: Duration = Duration::from_millis(25);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses between attempts that end at a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    deadline: Option<Instant>,
    pause: Duration,
}

impl Backoff {
    /// Attempts for as long as `patience`, counted from now; `None`, or longer than the clock can say: for ever.
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { deadline: patience.and_then(|patience| Instant::now().checked_add(patience)), pause: FIRST }
    }

    /// What an attempt comes to; `None`: the deadline came first.
    async fn within<T>(&self, attempt: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, attempt).await.ok(),
            None => Some(attempt.await),
        }
    }

    /// Waits before the next attempt; `false`, at once: there is no time left for one.
    pub(crate) async fn pause(&mut self) -> bool {
        let Some(until) = self.next_attempt(Instant::now()) else { return false };
        tokio::time::sleep_until(until).await;
        true
    }

    /// When the next attempt begins; `None`: not before the deadline.
    fn next_attempt(&mut self, now: Instant) -> Option<Instant> {
        let next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        self.deadline.is_none_or(|deadline| next < deadline).then_some(next)
    }
}

/// Attempts for want of a server. The first one takes as long as it takes; from its failure on there is so much time
/// for all of the others.
#[derive(Debug)]
pub(crate) struct Retry {
    patience: Duration,
    failed: Option<(Backoff, Error)>,
}

impl Retry {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, failed: None }
    }

    /// Whether an attempt has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Makes an attempt, and waits if it failed; `None`: it is time for the next one.
    ///
    /// # Errors
    /// The attempt's, if it is not for want of a server; else the last one's, when time is up.
    pub(crate) async fn attempt<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let outcome = match self.failed.take() {
            None => attempt.await,
            Some((backoff, error)) => match backoff.within(attempt).await {
                None => return Err(error),
                Some(outcome) => {
                    self.failed = Some((backoff, error));
                    outcome
                }
            },
        };
        match outcome {
            Err(error) if error.kind.is_transient() => {
                let begin = || Backoff::new(Some(self.patience));
                let mut backoff = self.failed.take().map_or_else(begin, |(backoff, _)| backoff);
                if !backoff.pause().await {
                    return Err(error);
                }
                self.failed = Some((backoff, error));
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::{ErrorKind, Operation};

    fn failure(kind: ErrorKind) -> Error {
        Error { operation: Operation::Connect, endpoint: "e".into(), kind, source: None }
    }

    #[test]
    fn pauses_grow_until_the_deadline() {
        let began = Instant::now();
        let mut backoff = Backoff { deadline: Some(began + Duration::from_millis(200)), pause: FIRST };
        let attempts = std::iter::successors(Some(began), |now| backoff.next_attempt(*now)).skip(1);
        let attempts: Vec<_> = attempts.map(|attempt| (attempt - began).as_millis()).collect();
        assert_eq!(attempts, [25, 75, 175]);
    }

    /// A server that is stopped never answers.
    #[tokio::test]
    async fn attempts_that_hang_end_at_the_deadline_too() {
        let mut retry = Retry::new(Duration::from_millis(100));
        assert_eq!(retry.attempt(async { Err::<(), _>(failure(ErrorKind::TimedOut)) }).await.unwrap(), None);
        let error = loop {
            match retry.attempt(std::future::pending::<Result<(), Error>>()).await {
                Ok(done) => assert_eq!(done, None),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_succeeds_or_fails_for_good_is_not_waited_for() {
        let mut retry = Retry::new(PATIENCE);
        assert_eq!(retry.attempt(async { Ok(1) }).await.unwrap(), Some(1));
        assert!(retry.attempt(async { Err::<(), _>(failure(ErrorKind::NoSpace)) }).await.is_err());
        assert!(!retry.has_failed());
        assert_eq!(retry.attempt(async { Err::<(), _>(failure(ErrorKind::Unreachable)) }).await.unwrap(), None);
        assert!(retry.has_failed());
        assert_eq!(retry.attempt(async { Ok(2) }).await.unwrap(), Some(2));
    }
}
