//! Where the store's keys are in etcd: production's, the standard test namespace, or a sandbox. Only this module knows
//! the product's root, and decides what may be cleaned.

use etcd_keys::KeyRange;
use etcd_keys::guard::Guard;

use super::{Config, TestSettings};
use crate::error::ErrorKind;

/// All of Cloud Chamber's keys begin with this.
pub const ROOT: &str = "/CloudChamber/v0.1/";
/// Below the root: the keys of tests.
const TEST: &str = "Test";
/// Below that: the keys of tests without a sandbox.
const STANDARD: &str = "Standard";

/// Settings that cannot be used together.
pub(super) struct Excluded {
    pub(super) setting: &'static str,
    pub(super) reason: String,
}

impl From<Excluded> for ErrorKind {
    fn from(Excluded { setting, reason }: Excluded) -> Self {
        Self::InvalidConfig { line: None, setting: Some(setting.to_owned()), reason }
    }
}

fn excluded(setting: &'static str, reason: impl Into<String>) -> Excluded {
    Excluded { setting, reason: reason.into() }
}

impl TestSettings {
    pub(super) fn check(&self) -> Result<(), Excluded> {
        let (clean, unique) = ("PreCleanStore", "UseUniqueInstance");
        match (self.use_test_namespace, self.use_unique_instance, self.pre_clean_store) {
            (_, true, true) => Err(excluded(
                clean,
                "cannot be used with UseUniqueInstance: a sandbox is empty, and other tests' keys must stay",
            )),
            (false, true, _) => {
                Err(excluded(unique, "needs UseTestNamespace: production's keys have only one namespace"))
            }
            (false, _, true) => Err(excluded(clean, "needs UseTestNamespace: production's keys are never cleaned")),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// The prefix of the store's keys in etcd, which ends with a slash.
    pub(crate) fn namespace(&self) -> Result<String, ErrorKind> {
        self.test.check()?;
        match (self.test.use_test_namespace, self.test.use_unique_instance) {
            (false, _) => Ok(ROOT.to_owned()),
            (true, false) => Ok(format!("{ROOT}{TEST}/{STANDARD}/")),
            (true, true) => Ok(sandbox(self.sandbox.as_deref())?),
        }
    }

    /// The keys that connecting deletes, if any.
    pub(crate) fn to_clean(&self) -> Result<Option<KeyRange>, ErrorKind> {
        let range = KeyRange::prefix(self.namespace()?);
        match self.test.pre_clean_store {
            false => Ok(None),
            true if Guard::new(ROOT, TEST, []).check_test_data(&range).is_ok() => Ok(Some(range)),
            true => Err(excluded("PreCleanStore", format!("cannot clean {range}, which is not test data")).into()),
        }
    }
}

fn sandbox(prefix: Option<&str>) -> Result<String, Excluded> {
    let setting = "UseUniqueInstance";
    let Some(prefix) = prefix else {
        let reason = "needs a sandbox: set ETCD_TEST_PREFIX, as `cargo xtask test` does, or call `Config::in_sandbox`";
        return Err(excluded(setting, reason));
    };
    let below = prefix.strip_prefix(&format!("{ROOT}{TEST}/")).and_then(|below| below.strip_suffix('/'));
    let is_sandbox = |below: &str| !below.split('/').any(str::is_empty) && below.split('/').next() != Some(STANDARD);
    if below.is_some_and(is_sandbox) {
        Ok(prefix.to_owned())
    } else {
        let prefix = prefix.escape_debug();
        Err(excluded(setting, format!("cannot use the sandbox `{prefix}`: a sandbox is `{ROOT}{TEST}/…/`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(use_test_namespace: bool, use_unique_instance: bool, pre_clean_store: bool) -> Config {
        let test = TestSettings { use_test_namespace, use_unique_instance, pre_clean_store };
        Config { test, ..Config::default() }
    }

    fn refused(config: &Config) -> String {
        config.to_clean().unwrap_err().to_string()
    }

    #[test]
    fn keys_go_where_the_settings_say() {
        let run = "/CloudChamber/v0.1/Test/run/";
        assert_eq!(config(false, false, false).namespace().unwrap(), "/CloudChamber/v0.1/");
        assert_eq!(config(true, false, false).namespace().unwrap(), "/CloudChamber/v0.1/Test/Standard/");
        assert_eq!(config(true, true, false).in_sandbox(run).namespace().unwrap(), run);
        assert!(refused(&config(true, true, false)).starts_with("`UseUniqueInstance` needs a sandbox"));
        // A sandbox is used only with `UseUniqueInstance`.
        assert_eq!(config(false, false, false).in_sandbox(run).namespace().unwrap(), ROOT);
        for invalid in [
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
            let error = refused(&config(true, true, false).in_sandbox(invalid));
            assert!(error.starts_with(&format!("`UseUniqueInstance` cannot use the sandbox `{invalid}`")), "{error}");
        }
    }

    #[test]
    fn only_the_standard_test_namespace_is_ever_cleaned() {
        let standard = KeyRange::prefix("/CloudChamber/v0.1/Test/Standard/");
        assert_eq!(config(true, false, true).to_clean().unwrap(), Some(standard));
        assert_eq!(config(true, false, false).to_clean().unwrap(), None);
        assert_eq!(config(false, false, false).to_clean().unwrap(), None);
        assert!(refused(&config(false, false, true)).starts_with("`PreCleanStore` needs UseTestNamespace"));
        for namespace in [false, true] {
            let config = config(namespace, true, true).in_sandbox("/CloudChamber/v0.1/Test/run/");
            assert!(refused(&config).starts_with("`PreCleanStore` cannot be used with UseUniqueInstance"));
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
