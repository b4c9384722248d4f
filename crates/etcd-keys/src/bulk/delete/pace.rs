//! How much to delete at once. etcd applies one write at a time, so each chunk blocks all other clients for its duration.
//! Chunks grow while they are quick, and shrink when they are slow.

use std::time::Duration;

/// The number of keys between two boundaries of a preview: the smallest chunk that needs no read of keys.
pub(super) const STEP: u64 = 250;

/// The intended time for one chunk, measured by the sender. Other clients wait for one chunk and their own write.
const TARGET: Duration = Duration::from_millis(8);
/// The most steps in one chunk. Larger chunks save little time, and other clients wait longer. For 1M keys: chunks of 500
/// take 6.2 s with other writes at 6–7 ms (p99); chunks of 2,000 take 5.2 s with 12–22 ms [measured].
const MOST_STEPS: usize = 2;
/// The most pieces to split a step into, for large values or a slow machine.
const MOST_PIECES: usize = STEP as usize;

/// The size of the next chunk: whole steps, or one step in pieces.
#[derive(Debug)]
pub(super) struct Pace {
    steps: usize,
    pieces: usize,
    /// More pieces than this did not help.
    most_pieces: usize,
    /// The time of a transaction before its keys were split into more pieces.
    before_cut: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { steps: 1, pieces: 1, most_pieces: MOST_PIECES, before_cut: None }
    }
}

impl Pace {
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces
    }

    /// Adapts the size after a chunk that took `time` in all its pieces.
    pub(super) fn took(&mut self, time: Duration) {
        let each = time / u32::try_from(self.pieces).unwrap_or(u32::MAX);
        if self.before_cut.take().is_some_and(|before| each * 4 > before * 3) {
            // Half as many keys are hardly quicker: the disk or the network is slow, not the number of keys.
            self.pieces /= 2;
            self.most_pieces = self.pieces;
        } else if each > TARGET {
            if self.steps > 1 {
                self.steps /= 2;
            } else if self.pieces < self.most_pieces {
                self.before_cut = Some(each);
                self.pieces = (self.pieces * 2).min(self.most_pieces);
            }
        } else if each * 2 < TARGET {
            if self.pieces > 1 {
                self.pieces /= 2;
            } else {
                self.steps = (self.steps + 1).min(MOST_STEPS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks that take `key` for each key, and `besides` for each transaction.
    fn chunks(pace: &mut Pace, key: Duration, besides: Duration) {
        for _ in 0..20 {
            let keys = u32::try_from(STEP as usize * pace.steps()).unwrap();
            pace.took(key * keys + besides * u32::try_from(pace.pieces()).unwrap());
        }
    }

    #[test]
    fn chunks_grow_while_they_are_quick_and_shrink_when_not() {
        let mut pace = Pace::default();
        chunks(&mut pace, Duration::from_micros(5), Duration::ZERO);
        assert_eq!((pace.steps(), pace.pieces()), (MOST_STEPS, 1));
        chunks(&mut pace, Duration::from_secs(1), Duration::ZERO);
        assert_eq!((pace.steps(), pace.pieces()), (1, MOST_PIECES));
        chunks(&mut pace, Duration::from_micros(20), Duration::ZERO);
        assert_eq!((pace.steps(), pace.pieces()), (1, 1), "recovers after a slow moment");
    }

    #[test]
    fn chunks_do_not_shrink_if_that_does_not_help() {
        let mut pace = Pace::default();
        chunks(&mut pace, Duration::from_micros(5), Duration::from_millis(50));
        assert_eq!((pace.steps(), pace.pieces()), (1, 1), "a slow disk");
        let mut pace = Pace::default();
        chunks(&mut pace, Duration::from_millis(1), Duration::from_millis(50));
        assert_eq!((pace.steps(), pace.pieces()), (1, 8), "as far as it helps");
    }
}
