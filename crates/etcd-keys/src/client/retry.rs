//! Retries while the server is away for a short time: growing pauses up to a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::error::Error;

/// How long an operation of several requests waits for a server that goes away in the middle.
pub(crate) const RETRY_TIMEOUT: Duration = Duration::from_secs(5);

/// The first pause. Each next pause is twice as long.
const FIRST: Duration = Duration::from_millis(25);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses between attempts, up to a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    deadline: Option<Instant>,
    pause: Duration,
}

impl Backoff {
    /// The deadline is `timeout` from now. There is none for `None`, or if the clock cannot represent it.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)), pause: FIRST }
    }

    /// The attempt's result; `None` if the deadline came first.
    async fn before_deadline<T>(&self, attempt: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, attempt).await.ok(),
            None => Some(attempt.await),
        }
    }

    /// Waits before the next attempt. Returns `false` at once if there is no time for another attempt.
    pub(crate) async fn pause(&mut self) -> bool {
        let Some(until) = self.next_attempt(Instant::now()) else { return false };
        tokio::time::sleep_until(until).await;
        true
    }

    /// The start of the next attempt; `None` if that is after the deadline.
    fn next_attempt(&mut self, now: Instant) -> Option<Instant> {
        let next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        self.deadline.is_none_or(|deadline| next < deadline).then_some(next)
    }
}

/// Repeats an attempt while the server is away. The first attempt has no deadline; the timeout for all others starts when
/// it fails.
#[derive(Debug)]
pub(crate) struct Retry {
    timeout: Duration,
    failed: Option<(Backoff, Error)>,
}

impl Retry {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, failed: None }
    }

    /// Whether an attempt has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Makes an attempt, and waits if it failed because the server is away. `None`: make the next attempt now.
    ///
    /// # Errors
    /// Any other error of the attempt at once; else the last attempt's error, after the timeout.
    pub(crate) async fn attempt<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let outcome = match self.failed.take() {
            None => attempt.await,
            Some((backoff, error)) => match backoff.before_deadline(attempt).await {
                None => return Err(error),
                Some(outcome) => {
                    self.failed = Some((backoff, error));
                    outcome
                }
            },
        };
        match outcome {
            Err(error) if error.kind.is_transient() => {
                let start = || Backoff::new(Some(self.timeout));
                let mut backoff = self.failed.take().map_or_else(start, |(backoff, _)| backoff);
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

    /// A paused server never answers.
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
    async fn success_and_permanent_errors_return_at_once() {
        let mut retry = Retry::new(RETRY_TIMEOUT);
        assert_eq!(retry.attempt(async { Ok(1) }).await.unwrap(), Some(1));
        assert!(retry.attempt(async { Err::<(), _>(failure(ErrorKind::NoSpace)) }).await.is_err());
        assert!(!retry.has_failed());
        assert_eq!(retry.attempt(async { Err::<(), _>(failure(ErrorKind::Unreachable)) }).await.unwrap(), None);
        assert!(retry.has_failed());
        assert_eq!(retry.attempt(async { Ok(2) }).await.unwrap(), Some(2));
    }
}
