//! Which deletions are refused unless they are forced: of all keys, of the product's root, of a range that contains the
//! root or reaches across its border, and of protected prefixes. What counts is which keys a range can contain, not how it
//! is written. Sends no requests.

use std::fmt;

use crate::client::range::KeyRange;
use crate::client::text::Escaped;

/// Refuses dangerous deletions. A prefix `/P` here means the key `/P` and all keys that begin with `/P/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    root: Subtree,
    test_root: Subtree,
    protected: Vec<Subtree>,
}

/// Why a deletion is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The range contains all keys, or all keys that begin with a slash.
    #[error("it would delete all keys, also those of other products")]
    Everything,
    /// The range contains the whole product root.
    #[error("it would delete the whole product root `{0}`")]
    Root(Prefix),
    /// The range contains keys inside and outside of the product root.
    #[error("it contains keys inside and outside of the product root `{0}`")]
    StraddlesRoot(Prefix),
    /// The range contains keys of a protected prefix.
    #[error("it touches the protected prefix `{0}`")]
    Protected(Prefix),
    /// The range is not wholly below the test root.
    #[error("it is not wholly below the test root `{0}`")]
    NotTestData(Prefix),
}

/// A prefix without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Vec<u8>);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl Guard {
    /// A guard for a product's root (`/Inventory/v1`), the name of the test root below it (`Test`), and further protected
    /// prefixes. A slash at the end of any of them makes no difference.
    #[must_use]
    pub fn new<P: AsRef<[u8]>>(root: P, test_root: P, protected: impl IntoIterator<Item = P>) -> Self {
        let root = Subtree::new(root.as_ref());
        let test_root = Subtree::new(&[&root.name, b"/".as_slice(), test_root.as_ref()].concat());
        Self { root, test_root, protected: protected.into_iter().map(|p| Subtree::new(p.as_ref())).collect() }
    }

    /// Why deleting a range needs force; `None` if it does not.
    #[must_use]
    pub fn refusal(&self, range: &KeyRange) -> Option<Refusal> {
        let span = Span::of(range)?;
        if span.covers(&Span::of(&KeyRange::prefix("/"))?) {
            return Some(Refusal::Everything);
        }
        if let Some(protected) = self.protected.iter().find(|protected| protected.overlaps(&span)) {
            return Some(Refusal::Protected(protected.prefix()));
        }
        if span.covers(&self.root.below) {
            return Some(Refusal::Root(self.root.prefix()));
        }
        let straddles = self.root.overlaps(&span) && !self.root.contains_all(&span);
        straddles.then(|| Refusal::StraddlesRoot(self.root.prefix()))
    }

    /// Checks that a range has only test data: it is wholly below the test root, and no key in it is protected. This check
    /// cannot be overridden.
    ///
    /// # Errors
    /// The reason if it does not.
    pub fn check_test_data(&self, range: &KeyRange) -> Result<(), Refusal> {
        let Some(span) = Span::of(range) else { return Ok(()) };
        if !span.is_within(&self.test_root.below) {
            return Err(Refusal::NotTestData(self.test_root.prefix()));
        }
        match self.protected.iter().find(|protected| protected.overlaps(&span)) {
            Some(protected) => Err(Refusal::Protected(protected.prefix())),
            None => Ok(()),
        }
    }
}

/// A prefix: the key itself, and all keys below it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subtree {
    name: Vec<u8>,
    below: Span,
}

impl Subtree {
    fn new(prefix: &[u8]) -> Self {
        let slashes = prefix.iter().rev().take_while(|byte| **byte == b'/').count();
        let name = prefix.get(..prefix.len() - slashes).unwrap_or_default().to_vec();
        let below = KeyRange::prefix([&name, b"/".as_slice()].concat());
        let below = Span { start: below.start().to_vec(), end: below.end() };
        Self { name, below }
    }

    fn prefix(&self) -> Prefix {
        Prefix(self.name.clone())
    }

    fn overlaps(&self, span: &Span) -> bool {
        span.contains(&self.name) || span.overlaps(&self.below)
    }

    fn contains_all(&self, span: &Span) -> bool {
        span.is_within(&self.below) || span.is_within(&Span::of_key(&self.name))
    }
}

/// A range of at least one key: from `start` up to but not including `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Span {
    fn of(range: &KeyRange) -> Option<Self> {
        (!range.is_empty()).then(|| Self { start: range.start().to_vec(), end: range.end() })
    }

    fn of_key(key: &[u8]) -> Self {
        let range = KeyRange::key(key);
        Self { start: key.to_vec(), end: range.end() }
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }

    fn covers(&self, other: &Self) -> bool {
        let to_the_end = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => end >= other,
        };
        self.start <= other.start && to_the_end
    }

    fn is_within(&self, other: &Self) -> bool {
        other.covers(self)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(&other.start) || other.contains(&self.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "/Inventory/v1";

    fn guard() -> Guard {
        Guard::new(ROOT, "Test", ["/Inventory/v1/Keep", "/other/"])
    }

    #[test]
    fn ranges_that_contain_the_root_are_refused_in_every_form() {
        for range in [
            KeyRange::all(),
            KeyRange::prefix(""),
            KeyRange::prefix("/"),
            KeyRange::prefix("/Inven"),
            KeyRange::prefix(ROOT),
            KeyRange::prefix("/Inventory/v1/"),
            KeyRange::from_key("\0"),
            KeyRange::from_key(""),
            KeyRange::from_key("/Inventory/v1/Users/5"),
            KeyRange::between("", "z"),
            KeyRange::between("/I", "a"),
            KeyRange::between("/Inventory/v1/", "/Inventory/v10"),
            KeyRange::between("/A", "/Inventory/v1/M"),
        ] {
            assert!(guard().refusal(&range).is_some(), "{range}");
        }
    }

    #[test]
    fn ranges_inside_or_beside_the_root_are_allowed() {
        for range in [
            KeyRange::key(ROOT),
            KeyRange::key("/Inventory/v1/Users/5"),
            KeyRange::prefix("/Inventory/v1/Users/"),
            KeyRange::prefix("/Inventory/v1/Test"),
            KeyRange::prefix("/Inventory/v2"),
            KeyRange::prefix("/Inventory/v10/"),
            KeyRange::prefix("/others/"),
            KeyRange::between("b", "a"),
        ] {
            assert_eq!(guard().refusal(&range), None, "{range}");
        }
    }

    #[test]
    fn protected_prefixes_are_refused() {
        for range in [
            KeyRange::key("/other"),
            KeyRange::key("/other/key"),
            KeyRange::prefix("/ot"),
            KeyRange::between("/other/b", "/other/c"),
            KeyRange::prefix("/Inventory/v1/K"),
            KeyRange::key("/Inventory/v1/Keep/a"),
        ] {
            assert!(matches!(guard().refusal(&range), Some(Refusal::Protected(_))), "{range}");
        }
    }

    #[test]
    fn test_data_is_below_the_test_root_and_nowhere_else() {
        let ours = |range: KeyRange| guard().check_test_data(&range).is_ok();
        assert!(ours(KeyRange::prefix("/Inventory/v1/Test/")));
        assert!(ours(KeyRange::prefix("/Inventory/v1/Test/run/a")));
        assert!(!ours(KeyRange::prefix("/Inventory/v1/Test")), "contains_all /Testament");
        assert!(!ours(KeyRange::from_key("/Inventory/v1/Test/a")));
        assert!(!ours(KeyRange::prefix(ROOT)) && !ours(KeyRange::all()) && !ours(KeyRange::key("/a")));
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        // Keys that begin like the interesting ones, cut anywhere, with any tail.
        let key =
            (0..4_usize, 0..30_usize, proptest::collection::vec(any::<u8>(), 0..3)).prop_map(|(which, cut, tail)| {
                let stem = ["/Inventory/v1/Users", "/Inventory/v1/Keep/x", "/other/x", "z"][which].as_bytes();
                [&stem[..cut.min(stem.len())], &tail].concat()
            });
        (0..4_usize, key.clone(), key).prop_map(|(kind, a, b)| match kind {
            0 => KeyRange::key(a),
            1 => KeyRange::prefix(a),
            2 => KeyRange::from_key(a),
            _ => KeyRange::between(a, b),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn allowed_ranges_leave_the_root_and_protected_keys(range in any_range(), tail: Vec<u8>) {
            if guard().refusal(&range).is_none() {
                let key = |stem: &[u8]| [stem, &tail].concat();
                prop_assert!(!range.contains(&key(b"/Inventory/v1/Keep/")) && !range.contains(&key(b"/other/")));
                // No allowed range contains both the root's first and last possible key.
                let last = [ROOT.as_bytes(), b"/", &[0xff; 64]].concat();
                prop_assert!(!(range.contains(b"/Inventory/v1/") && range.contains(&last)));
                // A range is wholly inside of the product, or wholly outside.
                let inside = range.contains(&key(b"/Inventory/v1/"));
                prop_assert!(!(inside && (range.contains(b"/Inventory/v0") || range.contains(b"/Inventory/v10"))));
            }
        }

        #[test]
        fn accepted_test_data_is_below_the_test_root(range in any_range(), key: Vec<u8>) {
            // etcd refuses the empty key.
            if guard().check_test_data(&range).is_ok() && !key.is_empty() && range.contains(&key) {
                prop_assert!(key.starts_with(b"/Inventory/v1/Test/"));
            }
        }
    }
}
