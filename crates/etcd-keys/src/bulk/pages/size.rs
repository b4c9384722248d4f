//! How many keys to request in one page. For a range with a limit, etcd walks all remaining keys, so many small pages take
//! quadratic time (1M keys: 76 s in pages of 1,000, 2.5 s in pages of 50,000). But values can be large, so pages start
//! small and grow with the measured sizes.

/// The limits of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// The number of keys in the first page, while their sizes are unknown.
    pub first: u32,
    /// The most keys in a page.
    pub most: u32,
    /// The intended limit for keys and values, in bytes. A page of one key may be larger.
    pub bytes: usize,
}

/// A page may have this many times as many keys as the page before.
const GROWTH: u32 = 16;

impl PageSize {
    /// For reads with values: 512 keys, then up to 50,000 in up to 8 MiB.
    #[must_use]
    pub fn of_values() -> Self {
        Self { first: 512, most: 50_000, bytes: 8 << 20 }
    }

    /// For reads of keys only: 4,000, then up to 100,000 in up to 16 MiB.
    #[must_use]
    pub fn of_keys() -> Self {
        Self { first: 4_000, most: 100_000, bytes: 16 << 20 }
    }

    /// The number of keys in the next page, after a page of `keys` keys and `bytes` bytes.
    pub(crate) fn next(&self, keys: u32, bytes: usize) -> u32 {
        let keys = keys.max(1);
        let fits = self.bytes.saturating_mul(keys as usize) / bytes.max(1);
        let fits = u32::try_from(fits).unwrap_or(u32::MAX);
        fits.min(keys.saturating_mul(GROWTH)).min(self.most).max(1)
    }

    /// The number of keys in the next page, after a page of `keys` keys was too large; `None` for a single key.
    pub(crate) fn after_too_large(keys: u32) -> Option<u32> {
        (keys > 1).then_some((keys / GROWTH).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_with_the_measured_sizes() {
        let size = PageSize { first: 100, most: 50_000, bytes: 1 << 20 };
        assert_eq!(size.next(100, 100 * 64), 1600);
        assert_eq!(size.next(1600, 1600 * 64), 16_384, "bounded by bytes");
        assert_eq!(size.next(40_000, 40_000), 50_000, "bounded by keys");
        assert_eq!(size.next(100, 100 << 20), 1, "never nothing");
        assert_eq!(size.next(0, 0), 16);
        assert_eq!((PageSize::after_too_large(100), PageSize::after_too_large(1)), (Some(6), None));
        assert_eq!(PageSize::after_too_large(2), Some(1));
    }
}
