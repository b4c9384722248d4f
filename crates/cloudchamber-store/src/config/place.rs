//! Which keys in etcd are the store's: production's, the standard test namespace, or a sandbox. The one place that
//! knows the product's root, and that decides what may be cleaned.

use etcd_keys::KeyRange;
use etcd_keys::guard::Guard;

use super::{Config, TestSettings};

/// Below this are all of Cloud Chamber's keys.
pub const ROOT: &str = "/CloudChamber/v0.1/";
/// Below the root: tests' keys.
const TEST: &str = "Test";
/// Below those: the keys of tests without a sandbox.
const STANDARD: &str = "Standard";

/// Settings that lead to no place for keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// `UseUniqueInstance` without `UseTestNamespace`.
    #[error("`UseUniqueInstance` needs UseTestNamespace: production's keys have one place only")]
    UniqueInProduction,
    /// `PreCleanStore` without `UseTestNamespace`.
    #[error("`PreCleanStore` needs UseTestNamespace: production's keys are never cleaned")]
    CleanProduction,
    /// `PreCleanStore` together with `UseUniqueInstance`.
    #[error("`PreCleanStore` excludes UseUniqueInstance: a sandbox is empty, and what others have there is theirs")]
    CleanSandbox,
    /// `UseUniqueInstance`, and nobody said where.
    #[error(
        "`UseUniqueInstance` needs a sandbox, and none is given; run the tests with `cargo xtask test`, which sets \
         ETCD_TEST_PREFIX, or name one with `Config::in_sandbox`"
    )]
    NoSandbox,
    /// The sandbox's prefix is not below the test namespace.
    #[error("`UseUniqueInstance` cannot use the sandbox `{0}`: it is not `{ROOT}{TEST}/…/`")]
    NotASandbox(String),
}

impl NamespaceError {
    /// The setting that is at fault.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            Self::CleanProduction | Self::CleanSandbox => "PreCleanStore",
            Self::UniqueInProduction | Self::NoSandbox | Self::NotASandbox(_) => "UseUniqueInstance",
        }
    }
}

impl TestSettings {
    pub(super) fn check(&self) -> Result<(), NamespaceError> {
        match (self.use_test_namespace, self.use_unique_instance, self.pre_clean_store) {
            (_, true, true) => Err(NamespaceError::CleanSandbox),
            (false, true, _) => Err(NamespaceError::UniqueInProduction),
            (false, _, true) => Err(NamespaceError::CleanProduction),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// The prefix of the store's keys in etcd, with a slash at its end.
    pub(crate) fn namespace(&self) -> Result<String, NamespaceError> {
        self.test.check()?;
        match (self.test.use_test_namespace, self.test.use_unique_instance) {
            (false, _) => Ok(ROOT.to_owned()),
            (true, false) => Ok(format!("{ROOT}{TEST}/{STANDARD}/")),
            (true, true) => sandbox(self.sandbox.as_deref().ok_or(NamespaceError::NoSandbox)?),
        }
    }

    /// What connecting cleans; `None`: nothing. It is test data beyond doubt, or nothing.
    pub(crate) fn to_clean(&self) -> Result<Option<KeyRange>, NamespaceError> {
        let range = KeyRange::prefix(self.namespace()?);
        let is_test_data = Guard::new(ROOT, TEST, []).check_test_data(&range).is_ok();
        match self.test.pre_clean_store {
            false => Ok(None),
            true if is_test_data => Ok(Some(range)),
            true => Err(NamespaceError::CleanProduction),
        }
    }
}

fn sandbox(prefix: &str) -> Result<String, NamespaceError> {
    let below = prefix.strip_prefix(&format!("{ROOT}{TEST}/")).and_then(|below| below.strip_suffix('/'));
    let is_one = |below: &str| {
        let mut segments = below.split('/');
        segments.clone().next() != Some(STANDARD) && segments.all(|segment| !segment.is_empty())
    };
    match below {
        Some(below) if is_one(below) => Ok(prefix.to_owned()),
        _ => Err(NamespaceError::NotASandbox(prefix.escape_debug().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(use_test_namespace: bool, use_unique_instance: bool, pre_clean_store: bool) -> Config {
        let test = TestSettings { use_test_namespace, use_unique_instance, pre_clean_store };
        Config { test, ..Config::default() }
    }

    #[test]
    fn keys_go_where_the_settings_say() {
        let run = "/CloudChamber/v0.1/Test/run/";
        assert_eq!(config(false, false, false).namespace().unwrap(), "/CloudChamber/v0.1/");
        assert_eq!(config(true, false, false).namespace().unwrap(), "/CloudChamber/v0.1/Test/Standard/");
        assert_eq!(config(true, true, false).in_sandbox(run).namespace().unwrap(), run);
        assert_eq!(config(true, true, false).namespace().unwrap_err(), NamespaceError::NoSandbox);
        // A sandbox that is not asked for is no place for production's keys, and the other way round.
        assert_eq!(config(false, false, false).in_sandbox(run).namespace().unwrap(), ROOT);
        for no_sandbox in [
            "",
            "/",
            ROOT,
            "/CloudChamber/v0.1/Test/",
            "/CloudChamber/v0.1/Test//",
            "/CloudChamber/v0.1/Test/a//b/",
            "/CloudChamber/v0.1/Test/run",
            "/CloudChamber/v0.1/Test/Standard/",
            "/CloudChamber/v0.1/Testament/run/",
            "/Other/Test/run/",
        ] {
            let error = config(true, true, false).in_sandbox(no_sandbox).namespace().unwrap_err();
            assert!(matches!(error, NamespaceError::NotASandbox(_)), "{no_sandbox}");
        }
    }

    #[test]
    fn only_the_standard_test_namespace_is_ever_cleaned() {
        let standard = KeyRange::prefix("/CloudChamber/v0.1/Test/Standard/");
        assert_eq!(config(true, false, true).to_clean().unwrap(), Some(standard));
        assert_eq!(config(true, false, false).to_clean().unwrap(), None);
        assert_eq!(config(false, false, false).to_clean().unwrap(), None);
        assert_eq!(config(false, false, true).to_clean().unwrap_err(), NamespaceError::CleanProduction);
        for namespace in [false, true] {
            let config = config(namespace, true, true).in_sandbox("/CloudChamber/v0.1/Test/run/");
            assert_eq!(config.to_clean().unwrap_err(), NamespaceError::CleanSandbox);
        }
    }

    #[test]
    fn a_run_moves_only_what_asked_for_it() {
        let run = |name: &str| match name {
            "ETCD_ENDPOINTS" => Some("http://a:1, http://b:2".to_owned()),
            "ETCD_TEST_PREFIX" => Some("/CloudChamber/v0.1/Test/run/".to_owned()),
            _ => None,
        };
        assert_eq!(config(true, false, false).in_run(run), config(true, false, false));
        let moved = config(true, true, false).in_run(run);
        assert_eq!(moved.endpoints(), ["http://a:1", "http://b:2"]);
        assert_eq!(moved.namespace().unwrap(), "/CloudChamber/v0.1/Test/run/");
        let named = config(true, true, false).in_sandbox("x").in_run(|_| None);
        assert_eq!(named.sandbox.as_deref(), Some("x"));
    }
}
