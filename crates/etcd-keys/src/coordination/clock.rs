//! A clock that also runs while the machine sleeps, because leases expire on the server meanwhile. std's and tokio's
//! [`Instant`] stop during sleep on Linux (`CLOCK_MONOTONIC`) and macOS (`CLOCK_UPTIME_RAW`).
//!
//! [`Instant`]: std::time::Instant

use std::time::Duration;

/// The time since some moment before this process began.
#[cfg(unix)]
pub(crate) fn now() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    // On macOS this clock also runs during sleep.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// The time since the first call. Windows' performance counter, which std reads, also runs during sleep.
#[cfg(not(unix))]
pub(crate) fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;

    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    const SLEPT: &str = "CLOCK_TEST_SLEPT";

    /// In a time namespace one clock is a day ahead of the other, as after a day of sleep. This test runs itself again in
    /// such a namespace.
    #[test]
    fn it_goes_on_while_the_machine_sleeps() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
        };
        // `uptime` counts the sleep, and is cut off after two digits.
        let (before, time, after) = (uptime(), now(), uptime() + Duration::from_millis(10));
        assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
        if std::env::var_os(SLEPT).is_some() {
            return;
        }
        let unshare = |program: &std::ffi::OsStr| {
            let mut command = Command::new("unshare");
            command.args(["--time", "--boottime", "86400", "--monotonic", "0"]).arg(program);
            command
        };
        if !unshare("true".as_ref()).output().is_ok_and(|ended| ended.status.success()) {
            let _ = writeln!(std::io::stderr(), "skipped: this user cannot create a time namespace");
            return;
        }
        let mut again = unshare(std::env::current_exe().unwrap().as_os_str());
        let ended =
            again.args(["it_goes_on_while_the_machine_sleeps", "--nocapture"]).env(SLEPT, "1").output().unwrap();
        let stdout = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success() && stdout.contains("1 passed"),
            "{stdout}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
}
