//! Waiting out a short absence of the server: growing pauses with a deadline. Decides nothing else.

use std::time::Duration;

use tokio::time::Instant;

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
    /// Attempts for as long as `patience`, counted from now; `None`: for ever.
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { deadline: patience.map(|patience| Instant::now() + patience), pause: FIRST }
    }

    /// Waits before the next attempt; `false`, at once: there is no time left for one.
    pub(crate) async fn pause(&mut self) -> bool {
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        if self.deadline.is_some_and(|deadline| until >= deadline) {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_end_at_the_deadline() {
        let began = Instant::now();
        let mut backoff = Backoff::new(Some(Duration::from_millis(200)));
        let mut attempts = 0;
        while backoff.pause().await {
            attempts += 1;
        }
        assert!((1..=3).contains(&attempts) && began.elapsed() < Duration::from_secs(5));
    }
}
