//! How much to delete at once: etcd applies one write at a time, so a chunk stalls every other client for as
//! long as it takes. Chunks grow while they are quick and shrink when they are not.

use std::time::Duration;

/// Keys between two boundaries of a preview: the least that one transaction takes without looking at keys.
pub(super) const STEP: u64 = 250;

/// The longest that a chunk should take, as its sender sees it. Others wait for one chunk and their own write.
const TARGET: Duration = Duration::from_millis(8);
/// Keys that one chunk takes at most, in steps. More saves next to nothing, and others wait longer: 1M keys in
/// chunks of 500 take 6.2 s, with others' writes at 6–7 ms (p99); of 2,000, 5.2 s and 12–22 ms [measured].
const MOST_STEPS: usize = 2;
/// Into how many pieces a step may be cut, where values are large or the machine is slow.
const MOST_PIECES: usize = STEP as usize;

/// The size of the next chunk: whole steps, or one step in pieces.
#[derive(Debug)]
pub(super) struct Pace {
    steps: usize,
    pieces: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { steps: 1, pieces: 1 }
    }
}

impl Pace {
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces
    }

    /// A chunk took so long in all its pieces.
    pub(super) fn took(&mut self, time: Duration) {
        let each = time / u32::try_from(self.pieces).unwrap_or(u32::MAX);
        if each > TARGET {
            if self.steps > 1 {
                self.steps /= 2;
            } else {
                self.pieces = (self.pieces * 2).min(MOST_PIECES);
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

    #[test]
    fn chunks_grow_while_they_are_quick_and_shrink_when_not() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.took(Duration::from_millis(1));
        }
        assert_eq!((pace.steps(), pace.pieces()), (MOST_STEPS, 1));
        for _ in 0..20 {
            pace.took(Duration::from_secs(100));
        }
        assert_eq!((pace.steps(), pace.pieces()), (1, MOST_PIECES));
        for _ in 0..20 {
            pace.took(Duration::from_millis(7));
        }
        assert!(pace.pieces() < MOST_PIECES, "what was slow for a moment recovers");
    }
}
