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
    /// Into more pieces is of no use.
    most_pieces: usize,
    /// What a transaction took before its keys were cut into more pieces.
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

    /// A chunk took so long in all its pieces.
    pub(super) fn took(&mut self, time: Duration) {
        let each = time / u32::try_from(self.pieces).unwrap_or(u32::MAX);
        if self.before_cut.take().is_some_and(|before| each * 4 > before * 3) {
            // Half as many keys, and hardly quicker: not their number makes it slow but the disk, or the network.
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

    /// Chunks of which each key takes so long, and each transaction some time besides.
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
        assert_eq!((pace.steps(), pace.pieces()), (1, 1), "what was slow for a moment recovers");
    }

    #[test]
    fn chunks_do_not_shrink_where_that_is_of_no_use() {
        let mut pace = Pace::default();
        chunks(&mut pace, Duration::from_micros(5), Duration::from_millis(50));
        assert_eq!((pace.steps(), pace.pieces()), (1, 1), "a slow disk");
        let mut pace = Pace::default();
        chunks(&mut pace, Duration::from_millis(1), Duration::from_millis(50));
        assert_eq!((pace.steps(), pace.pieces()), (1, 8), "as far as it helps");
    }
}
