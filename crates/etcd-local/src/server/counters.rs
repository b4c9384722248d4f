//! What a member has counted since its start, by its `/metrics`: fsyncs of its log, changes of the leader. Knows URLs only:
//! that the server is the one that is meant, its caller has made sure of.

use super::http;

/// Seconds that an answer may take.
const TIMEOUT: u64 = 2;
const STARTED: &str = "process_start_time_seconds";
const LEADER_CHANGES: &str = "etcd_server_leader_changes_seen_total";
/// How many fsyncs took at most so long, as in `…{le="0.001"} 12`.
const FSYNCS: &str = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";

/// What a member has counted since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// When its process began; `None` where etcd does not know.
    started: Option<f64>,
    leader_changes: u64,
    /// Seconds, and how many fsyncs took at most so long.
    fsyncs: Vec<(f64, u64)>,
}

/// What a member has counted meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Counted {
    /// Whether another process answered at the beginning. Then this is since the start of the present one.
    pub was_restarted: bool,
    /// How often the leader changed.
    pub leader_changes: u64,
    /// The number of fsyncs. An etcd for tests makes none.
    pub fsyncs: u64,
    /// Seconds that 99 of 100 fsyncs took at most, as exactly as etcd counts. `None`: there were none, or they took longer
    /// than etcd distinguishes.
    pub fsync_p99: Option<f64>,
}

impl Counters {
    /// Asks a member at its URL in plain HTTP. `None`: it does not answer within two seconds, or not as etcd does.
    #[must_use]
    pub fn read(url: &str) -> Option<Self> {
        let answer = http::get(&format!("{}/metrics", url.trim_end_matches('/')), TIMEOUT).ok()?;
        if !answer.is_success {
            return None;
        }
        Self::parse(&String::from_utf8_lossy(&answer.body))
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut counters, mut is_etcd) = (Self::default(), false);
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if name == STARTED {
                counters.started = Some(value);
            } else if name == LEADER_CHANGES {
                (counters.leader_changes, is_etcd) = (value as u64, true);
            } else if let Some(bound) = name.strip_prefix(FSYNCS).and_then(|rest| rest.strip_suffix("\"}"))
                && let Ok(bound) = bound.parse()
            {
                counters.fsyncs.push((bound, value as u64));
            }
        }
        is_etcd.then_some(counters)
    }

    /// What was counted since earlier counters of this member.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Counted {
        // Linux tells these times by hundredths of a second, from a boot time that may move by a whole one.
        let is_other_start = |(now, then): (f64, f64)| {
            let apart = (now - then).abs();
            apart > 1.005 || (0.005..0.995).contains(&apart)
        };
        let was_restarted = self.started.zip(earlier.started).is_some_and(is_other_start)
            || self.leader_changes < earlier.leader_changes
            || self.fsyncs.iter().zip(&earlier.fsyncs).any(|(now, then)| now.1 < then.1);
        let none = Self::default();
        let earlier = if was_restarted { &none } else { earlier };
        let before =
            |bound: f64| earlier.fsyncs.iter().find(|(other, _)| *other == bound).map_or(0, |(_, count)| *count);
        let fsyncs: Vec<_> =
            self.fsyncs.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(*bound)))).collect();
        let all = fsyncs.last().map_or(0, |(_, count)| *count);
        let has_99 = |(_, count): &&(f64, u64)| *count * 100 >= all * 99;
        let p99 = fsyncs.iter().find(has_99).map(|(bound, _)| *bound);
        Counted {
            was_restarted,
            leader_changes: self.leader_changes - earlier.leader_changes,
            fsyncs: all,
            fsync_p99: p99.filter(|bound| all > 0 && bound.is_finite()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(started: f64, leader_changes: u64, fsyncs: [u64; 3]) -> Counters {
        let [ms, two, all] = fsyncs;
        let text = format!(
            "# HELP etcd_server_leader_changes_seen_total The number of leader changes seen.\n\
             etcd_server_leader_changes_seen_total {leader_changes}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.001\"}} {ms}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.002\"}} {two}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             etcd_disk_wal_fsync_duration_seconds_sum 0.5\nprocess_start_time_seconds {started:e}\n"
        );
        Counters::parse(&text).unwrap()
    }

    #[test]
    fn what_was_counted_before_does_not_count() {
        let before = counters(1.76e9, 1, [0, 10, 20]);
        let same = before.since(&before);
        assert_eq!((same.was_restarted, same.leader_changes, same.fsyncs, same.fsync_p99), (false, 0, 0, None));
        let after = counters(1.76e9, 3, [98, 109, 120]).since(&before);
        assert_eq!((after.was_restarted, after.leader_changes, after.fsyncs), (false, 2, 100));
        assert_eq!(after.fsync_p99, Some(0.002), "98 within 1 ms, 99 within 2 ms");
        assert_eq!(counters(1.76e9, 1, [98, 108, 120]).since(&before).fsync_p99, None, "one of 98 took longer");
    }

    #[test]
    fn a_restarted_member_has_counted_since_its_start() {
        let before = counters(1.76e9, 2, [5, 10, 20]);
        let fsyncs = [99, 100, 100];
        for after in
            [counters(1.76e9 + 2.0, 2, fsyncs), counters(1.76e9 + 0.25, 2, fsyncs), counters(1.76e9, 1, fsyncs)]
        {
            let counted = after.since(&before);
            assert!(counted.was_restarted && counted.fsyncs == 100 && counted.fsync_p99 == Some(0.001), "{counted:?}");
        }
        assert!(!counters(1.76e9 - 1.0, 2, fsyncs).since(&before).was_restarted, "the clock was set");
        assert_eq!(Counters::parse("process_start_time_seconds 1\n<html>"), None, "another server's");
    }
}
