//! How many keys to ask for in one page. A range with a limit walks every key that remains inside etcd, so
//! small pages are quadratic (1M keys in pages of 1,000: 76 s; of 50,000: 2.5 s), and pages of unknown
//! values may be huge: they begin small and grow by what was measured.

/// The bounds of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// Keys of the first page, before anything is known of their sizes.
    pub first: u32,
    /// Most keys of any page.
    pub most: u32,
    /// Bytes of keys and values that a page should not exceed; a page of one key may.
    pub bytes: usize,
}

/// By how much a page may be larger than the one before.
const GROWTH: u32 = 16;

impl PageSize {
    /// For reads with values: 512 keys, then up to 50,000 in up to 8 MiB.
    #[must_use]
    pub fn of_values() -> Self {
        Self { first: 512, most: 50_000, bytes: 8 << 20 }
    }

    /// For reads of keys alone: 4,000, then up to 100,000 in up to 16 MiB.
    #[must_use]
    pub fn of_keys() -> Self {
        Self { first: 4_000, most: 100_000, bytes: 16 << 20 }
    }

    /// The next page's keys, after one of `keys` that took `bytes`.
    pub(crate) fn next(&self, keys: u32, bytes: usize) -> u32 {
        let keys = keys.max(1);
        let fits = self.bytes.saturating_mul(keys as usize) / bytes.max(1);
        let fits = u32::try_from(fits).unwrap_or(u32::MAX);
        fits.min(keys.saturating_mul(GROWTH)).min(self.most).max(1)
    }

    /// The next page's keys, after one of `keys` was larger than can be taken.
    pub(crate) fn after_too_large(keys: u32) -> Option<u32> {
        (keys > 1).then_some((keys / GROWTH).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_by_what_was_measured() {
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
