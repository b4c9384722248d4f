//! Waiting for what happens sooner or later.

use std::time::{Duration, Instant};

/// Longer than anything in these tests takes, on a machine that does ten other things.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Looks again until it is true; `false` after [`TIMEOUT`]. Often at first, then rarely: a look at all processes takes
/// milliseconds, and other tests wait for the processor.
pub fn eventually(mut look: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if look() {
            return true;
        }
        if began.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::park_timeout(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(50));
    }
}
