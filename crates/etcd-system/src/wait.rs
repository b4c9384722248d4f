//! Waiting, always with a deadline. The only place that puts a thread to sleep.

use std::time::{Duration, Instant};

/// A point in monotonic time at which a timeout passes; `None`: after `Duration::MAX`, say, which is later than the clock can tell.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    pub fn remaining(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    pub fn expired(self) -> bool {
        self.remaining().is_zero()
    }
}

/// The pause before the next look: short at first, for what is about to happen, then longer and gentle.
#[derive(Clone, Copy, Debug)]
pub struct Pace(Duration);

impl Pace {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// The next pause, cut to what is left before `deadline`.
    pub fn next(&mut self, deadline: Deadline) -> Duration {
        let pause = self.0;
        self.0 = (pause * 5 / 4).min(Self::LONGEST);
        pause.min(deadline.remaining())
    }
}

/// Looks again and again until `look` finds something, fails, or the deadline passes (`None`).
/// Looks at least once.
pub fn until<T, E>(deadline: Deadline, look: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut pace = Pace::new();
    look_until(deadline, || pace.next(deadline), look)
}

/// The same with equal pauses: for a look that takes the processor long, like one that starts a process.
pub fn until_every<T, E>(
    pause: Duration,
    deadline: Deadline,
    look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    look_until(deadline, || pause.min(deadline.remaining()), look)
}

fn look_until<T, E>(
    deadline: Deadline,
    mut pause: impl FnMut() -> Duration,
    mut look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if deadline.expired() {
            return Ok(None);
        }
        #[expect(clippy::disallowed_methods, reason = "the pause between two looks, bounded by the deadline")]
        std::thread::sleep(pause());
    }
}
