//! Where test data may be: the test root below the product's root, and which prefixes are protected. Every range that
//! is cleaned comes from here and passes the guard.

use std::fmt;

use etcd_keys::KeyRange;
use etcd_keys::guard::{Guard, Refusal};
use etcd_workspace::{is_prefix, is_segment};

use crate::run_id::RunId;

/// The product's root, the test root below it, and more protected prefixes.
#[derive(Clone, Debug)]
pub struct Roots {
    test_root: String,
    guard: Guard,
}

/// Why a prefix cannot be the test root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The product's root is not a prefix with at least one segment.
    #[error("the root `{}` is not a key prefix like `/Product/v1`", .0.escape_debug())]
    Root(String),
    /// The test root is not one segment below the product's root.
    #[error("the test root `{}` is not one segment below the root, like `Test`", .0.escape_debug())]
    TestRoot(String),
    /// The test root is protected: nothing in it could ever be cleaned.
    #[error("the test root cannot be used: {0}")]
    Protected(Refusal),
}

impl Roots {
    /// A product's root, like `/Inventory/v1`; the segment of the test root below it, like `Test`; more prefixes below
    /// which nothing is deleted. A slash at an end makes no difference.
    ///
    /// # Errors
    /// If the test root would be the product's root, above it or outside of it, or is protected.
    pub fn new(root: &str, test_root: &str, protected: &[String]) -> Result<Self, RootsError> {
        let root = root.strip_suffix('/').unwrap_or(root);
        let segment = test_root.strip_suffix('/').unwrap_or(test_root);
        if !is_prefix(root) {
            return Err(RootsError::Root(root.to_owned()));
        }
        if !is_segment(test_root) {
            return Err(RootsError::TestRoot(test_root.to_owned()));
        }
        let guard = Guard::new(root, segment, protected.iter().map(String::as_str));
        let roots = Self { test_root: format!("{root}/{segment}/"), guard };
        roots.check(&roots.range()).map_err(RootsError::Protected)?;
        Ok(roots)
    }

    /// The test root, with a slash at its end.
    #[must_use]
    pub fn test_root(&self) -> &str {
        &self.test_root
    }

    /// All keys below the test root.
    #[must_use]
    pub fn range(&self) -> KeyRange {
        KeyRange::prefix(self.test_root.as_str())
    }

    /// A run's prefix, with a slash at its end.
    #[must_use]
    pub fn run(&self, id: &RunId) -> String {
        format!("{}{id}/", self.test_root)
    }

    /// The index of runs: listing runs must not walk over their keys.
    pub(crate) fn index(&self) -> String {
        format!("{}.runs/", self.test_root)
    }

    /// Checks that a range is test data and nothing else.
    ///
    /// # Errors
    /// What else the range holds.
    pub fn check(&self, range: &KeyRange) -> Result<(), Refusal> {
        self.guard.check_test_data(range)
    }

    /// Whether a key belongs to a run, or to the registry of runs.
    pub(crate) fn is_of_a_run(&self, key: &[u8]) -> bool {
        let below = key.strip_prefix(self.test_root.as_bytes()).and_then(|key| key.split(|byte| *byte == b'/').next());
        let segment = below.and_then(|segment| std::str::from_utf8(segment).ok());
        segment.is_some_and(|segment| segment == ".runs" || segment.parse::<RunId>().is_ok())
    }

    /// The run whose prefix this is.
    pub(crate) fn run_of(&self, prefix: &str) -> Option<RunId> {
        prefix.strip_prefix(&self.test_root)?.strip_suffix('/')?.parse().ok()
    }
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.test_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_root_is_below_the_root_and_nothing_else() {
        let roots = Roots::new("/Inventory/v1/", "Test", &[]).unwrap();
        assert_eq!(roots.test_root(), "/Inventory/v1/Test/");
        let id = RunId::fresh().unwrap();
        assert_eq!(roots.run_of(&roots.run(&id)), Some(id.clone()));
        assert_eq!(roots.run_of(&format!("/Inventory/v1/Best/{id}/")), None);
        assert_eq!(roots.run_of("/Inventory/v1/Test/"), None);
        for (key, expected) in [(roots.run(&id) + "a", true), (roots.index() + "a", true)] {
            assert_eq!(roots.is_of_a_run(key.as_bytes()), expected, "{key}");
        }
        for key in
            ["/Inventory/v1/Test/", "/Inventory/v1/Test/Standard/a", "/Inventory/v1/a", "/Inventory/v1/Test\u{ff}"]
        {
            assert!(!roots.is_of_a_run(key.as_bytes()), "{key}");
        }
        for (root, test_root) in [
            ("/", "Test"),
            ("", "Test"),
            ("Inventory", "Test"),
            ("/a//b", "Test"),
            ("/a", ""),
            ("/a", "/"),
            ("/a", "."),
            ("/a", ".."),
            ("/a", "../b"),
            ("/a", "/a"),
            ("/a", "Test/more"),
        ] {
            assert!(Roots::new(root, test_root, &[]).is_err(), "{root} {test_root}");
        }
    }

    #[test]
    fn a_protected_prefix_is_not_a_test_root() {
        for protected in ["/a/Test", "/a", "/a/Test/", "/a/Test/inner"] {
            let error = Roots::new("/a", "Test", &[protected.to_owned()]).unwrap_err();
            assert!(matches!(error, RootsError::Protected(_)), "{protected}: {error}");
        }
        assert!(Roots::new("/a", "Test", &["/a/Testament".to_owned()]).is_ok());
    }
}
