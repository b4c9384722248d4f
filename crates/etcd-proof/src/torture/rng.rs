//! The random choices of a round: the same part, round and seed make the same choices.

use std::ops::RangeBounds;
use std::time::Duration;

/// A round's random numbers.
pub(super) struct Rng(fastrand::Rng);

impl Rng {
    /// Independent of every other part and round: FNV-1a mixes the three into one seed.
    pub(super) fn of(seed: u64, part: &str, round: u32) -> Self {
        let bytes = seed.to_le_bytes().into_iter().chain(part.bytes()).chain(round.to_le_bytes());
        let mixed = bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(fastrand::Rng::with_seed(mixed))
    }

    /// Random numbers for another thread.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    pub(super) fn choose<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        #[expect(clippy::indexing_slicing, reason = "the index is below N; no caller gives an empty array")]
        of[self.0.usize(..N)]
    }

    pub(super) fn number(&mut self, range: impl RangeBounds<u64>) -> u64 {
        self.0.u64(range)
    }

    pub(super) fn index(&mut self, range: impl RangeBounds<usize>) -> usize {
        self.0.usize(range)
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.0.u64(..times.max(1)) == 0
    }

    /// At most so many milliseconds, in whole microseconds.
    pub(super) fn delay(&mut self, milliseconds: u64) -> Duration {
        Duration::from_micros(self.0.u64(..=milliseconds * 1000))
    }

    /// Changes at most so many bytes.
    pub(super) fn corrupt(&mut self, bytes: &mut [u8], most: usize) {
        for _ in 0..self.0.usize(1..=most) {
            let at = self.0.usize(..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = self.0.u8(..);
            }
        }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.0.u8(..)).take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_round_makes_the_same_choices_and_others_make_others() {
        let drawn = |seed, part, round| Rng::of(seed, part, round).bytes(16);
        assert_eq!(drawn(1, "kills", 2), drawn(1, "kills", 2));
        for other in [drawn(2, "kills", 2), drawn(1, "load", 2), drawn(1, "kills", 3)] {
            assert_ne!(drawn(1, "kills", 2), other);
        }
    }
}
