//! What a deletion may not take without being forced: all keys, the product's root, whatever holds or
//! straddles it, and what is protected. By the keys that a range can hold, never by how it is spelled. Only
//! decisions; nothing here speaks to etcd.

use std::fmt;

use crate::client::range::KeyRange;
use crate::client::text::Escaped;

/// The prefixes that count. A prefix `/P` stands for the key `/P` and for all that begin with `/P/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    root: Territory,
    test_root: Territory,
    protected: Vec<Territory>,
}

/// Why a range is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Every key there is, or every key that begins with a slash.
    #[error("it would take everybody's keys")]
    Everything,
    /// The whole product root.
    #[error("it would take the whole product root `{0}`")]
    Root(Prefix),
    /// Keys of the product and keys beside them.
    #[error("it reaches from the product root `{0}` to keys outside of it")]
    StraddlesRoot(Prefix),
    /// Something protected.
    #[error("it touches the protected prefix `{0}`")]
    Protected(Prefix),
    /// Not below the test root, where nothing else is to be deleted.
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
    /// A guard for a product's root, like `/Inventory/v1`, the segment of the test root below it, like
    /// `Test`, and more prefixes to protect. Slashes at their ends make no difference.
    #[must_use]
    pub fn new<P: AsRef<[u8]>>(root: P, test_root: P, protected: impl IntoIterator<Item = P>) -> Self {
        let root = Territory::new(root.as_ref());
        let test_root = Territory::new(&[&root.name, b"/".as_slice(), test_root.as_ref()].concat());
        Self { root, test_root, protected: protected.into_iter().map(|p| Territory::new(p.as_ref())).collect() }
    }

    /// Why a range is not to be deleted without force; `None`: it may be.
    #[must_use]
    pub fn refusal(&self, range: &KeyRange) -> Option<Refusal> {
        let span = Span::of(range)?;
        if span.covers(&Span::of(&KeyRange::prefix("/"))?) {
            return Some(Refusal::Everything);
        }
        if let Some(protected) = self.protected.iter().find(|protected| protected.touches(&span)) {
            return Some(Refusal::Protected(protected.prefix()));
        }
        if span.covers(&self.root.below) {
            return Some(Refusal::Root(self.root.prefix()));
        }
        let straddles = self.root.touches(&span) && !self.root.holds(&span);
        straddles.then(|| Refusal::StraddlesRoot(self.root.prefix()))
    }

    /// Whether a range is test data alone: wholly below the test root, and nothing of it protected. There is
    /// no force.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_test_data(&self, range: &KeyRange) -> Result<(), Refusal> {
        let Some(span) = Span::of(range) else { return Ok(()) };
        if !span.is_within(&self.test_root.below) {
            return Err(Refusal::NotTestData(self.test_root.prefix()));
        }
        match self.protected.iter().find(|protected| protected.touches(&span)) {
            Some(protected) => Err(Refusal::Protected(protected.prefix())),
            None => Ok(()),
        }
    }
}

/// A prefix's keys: itself, and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Territory {
    name: Vec<u8>,
    below: Span,
}

impl Territory {
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

    fn touches(&self, span: &Span) -> bool {
        span.contains(&self.name) || span.meets(&self.below)
    }

    fn holds(&self, span: &Span) -> bool {
        span.is_within(&self.below) || span.is_within(&Span::of_key(&self.name))
    }
}

/// The keys from `start` up to, without, `end`, of which there is at least one.
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

    fn meets(&self, other: &Self) -> bool {
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
    fn what_holds_the_root_is_refused_however_it_is_spelled() {
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
    fn what_lies_inside_or_beside_the_root_is_not() {
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
    fn what_is_protected_is_not_touched() {
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
        assert!(!ours(KeyRange::prefix("/Inventory/v1/Test")), "holds /Testament");
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
        fn what_is_allowed_leaves_the_root_and_what_is_protected(range in any_range(), tail: Vec<u8>) {
            if guard().refusal(&range).is_none() {
                let key = |stem: &[u8]| [stem, &tail].concat();
                prop_assert!(!range.contains(&key(b"/Inventory/v1/Keep/")) && !range.contains(&key(b"/other/")));
                // The root's first and its last conceivable key do not go together.
                let last = [ROOT.as_bytes(), b"/", &[0xff; 64]].concat();
                prop_assert!(!(range.contains(b"/Inventory/v1/") && range.contains(&last)));
                // What it takes is all of the product, or none of it.
                let inside = range.contains(&key(b"/Inventory/v1/"));
                prop_assert!(!(inside && (range.contains(b"/Inventory/v0") || range.contains(b"/Inventory/v10"))));
            }
        }

        #[test]
        fn test_data_is_never_anything_else(range in any_range(), key: Vec<u8>) {
            // The empty key is none: etcd refuses it.
            if guard().check_test_data(&range).is_ok() && !key.is_empty() && range.contains(&key) {
                prop_assert!(key.starts_with(b"/Inventory/v1/Test/"));
            }
        }
    }
}
