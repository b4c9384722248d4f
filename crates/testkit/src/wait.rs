//! Waiting for what happens sooner or later.

use std::time::{Duration, Instant};

/// Longer than anything in these tests takes, on a machine that does ten other things.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Looks again until it is true; `false` after [`TIMEOUT`].
pub fn eventually(mut look: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if look() {
            return true;
        }
        if began.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
