//! nextest's JUnit report: where it goes, and the results in it. Runs no test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::runs::test_results::{TestCase, TestResults, Verdict, printable};

/// nextest's JUnit report, in a directory of the caller. The nextest configuration of the workspace has priority over the
/// configuration here: if it sets another path, the report is copied from there.
pub(crate) struct NextestReport {
    config: PathBuf,
    report: PathBuf,
    of_workspace: Option<PathBuf>,
    /// When the workspace's own report was written before.
    before: Option<SystemTime>,
}

impl NextestReport {
    /// The name of the report.
    const FILE: &str = "junit.xml";

    /// Prepares a run of a profile.
    pub(crate) fn prepare(dir: &Path, workspace: &Path, profile: &str) -> Result<Self> {
        let (config, report) = (dir.join(".nextest.toml"), dir.join(Self::FILE));
        // TOML has the same escapes as JSON.
        let path = serde_json::to_string(&report)?;
        let text = format!("[profile.default.junit]\npath = {path}\n");
        std::fs::write(&config, text).with_context(|| format!("cannot write `{}`", config.display()))?;
        let of_workspace = NextestConfig::read(workspace).and_then(|config| config.report(workspace, profile));
        let before = of_workspace.as_deref().and_then(written_at);
        Ok(Self { config, report, of_workspace, before })
    }

    /// The arguments that make `nextest run` write the report.
    pub(crate) fn args(&self) -> [String; 2] {
        ["--tool-config-file".to_owned(), format!("etcd-xtask:{}", self.config.display())]
    }

    pub(crate) fn read(&self) -> Option<TestResults> {
        if let Some(path) = self.of_workspace.as_deref().filter(|path| written_at(path) != self.before) {
            std::fs::copy(path, &self.report).ok()?;
        }
        in_junit(&std::fs::read_to_string(&self.report).ok()?)
    }
}

fn written_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

impl Drop for NextestReport {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.config));
    }
}

/// What the nextest configuration of a workspace says of JUnit reports.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NextestConfig {
    store: NextestStore,
    profile: BTreeMap<String, NextestProfile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NextestStore {
    dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NextestProfile {
    inherits: Option<String>,
    junit: NextestJunit,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NextestJunit {
    path: Option<PathBuf>,
}

impl NextestConfig {
    fn read(workspace: &Path) -> Option<Self> {
        toml::from_str(&std::fs::read_to_string(workspace.join(".config/nextest.toml")).ok()?).ok()
    }

    /// The path of the report of a profile, which may be in a profile that it inherits from.
    fn report(&self, workspace: &Path, profile: &str) -> Option<PathBuf> {
        let path = |name: &str| self.profile.get(name)?.junit.path.as_ref();
        let parent = |name: &str| self.profile.get(name)?.inherits.as_deref();
        let chain = std::iter::successors(Some(profile), |name| parent(name)).take(self.profile.len() + 1);
        let path = chain.chain(["default"]).find_map(path)?;
        let store = self.store.dir.as_deref().unwrap_or(Path::new("target/nextest"));
        Some(workspace.join(store).join(profile).join(path))
    }
}

fn in_junit(text: &str) -> Option<TestResults> {
    let document = roxmltree::Document::parse(text).ok()?;
    let mut results = TestResults { is_complete: true, ..TestResults::default() };
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let suite = case.parent_element()?.attribute("name")?;
        // Setup scripts are reported as suites, too.
        if suite.starts_with('@') {
            continue;
        }
        let has = |names: &[&str]| case.children().any(|node| names.iter().any(|name| node.has_tag_name(*name)));
        let verdict = match (has(&["failure", "error"]), has(&["flakyFailure", "flakyError"])) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::Flaky,
            (false, false) => Verdict::Passed,
        };
        *(if verdict == Verdict::Failed { &mut results.failed } else { &mut results.passed }) += 1;
        let output =
            case.descendants().filter(|node| node.has_tag_name("system-out") || node.has_tag_name("system-err"));
        let output: String = output.filter_map(|node| node.text()).collect();
        results.cases.push(TestCase {
            suite: Some(suite.to_owned()),
            name: case.attribute("name")?.to_owned(),
            verdict,
            seconds: case.attribute("time").and_then(|time| time.parse().ok()),
            output: if verdict == Verdict::Passed { String::new() } else { printable(&output) },
            again: None,
        });
    }
    Some(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_nextest_is_read() {
        let results = in_junit(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3">
    <testsuite name="@setup-script:db"><testcase name="db"/></testsuite>
    <testsuite name="play::cli">
        <testcase name="a" classname="play::cli" time="0.125"><system-err>passed</system-err></testcase>
        <testcase name="b&lt;T&gt;"><failure type="test failure">x</failure><system-err>&lt;&#9;b</system-err></testcase>
        <testcase name="flaky"><flakyFailure type="test failure"><system-out>first</system-out></flakyFailure></testcase>
        <testcase name="hung"><failure type="test timeout"/><rerunFailure/></testcase>
    </testsuite>
</testsuites>"#,
        )
        .unwrap();
        assert_eq!((results.passed, results.failed), (2, 2));
        let owned = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let wanted = (owned(["play::cli a", "play::cli flaky"]), owned(["play::cli b<T>", "play::cli hung"]));
        let (passes, failures) = results.names();
        assert_eq!((passes.into_iter().collect::<Vec<_>>(), failures), wanted);
        let outputs = results.cases.iter().map(|case| case.output.as_str());
        assert_eq!(outputs.collect::<Vec<_>>(), ["", "<\tb", "first", ""]);
        assert_eq!(results.cases[0].seconds, Some(0.125));
        assert_eq!(results.cases[2].verdict, Verdict::Flaky);
        assert_eq!(in_junit("<testsuites"), None);
    }

    #[test]
    fn the_report_of_a_workspace_is_where_its_profile_says() {
        let config: NextestConfig = toml::from_str(
            "[profile.default]\nretries = 1\n[profile.ci.junit]\npath = 'ci.xml'\n[profile.more]\ninherits = 'ci'\n\
             [profile.loop]\ninherits = 'loop'",
        )
        .unwrap();
        let report = |profile| config.report("/w".as_ref(), profile);
        assert_eq!(report("ci"), Some("/w/target/nextest/ci/ci.xml".into()));
        assert_eq!(report("more"), Some("/w/target/nextest/more/ci.xml".into()));
        assert_eq!((report("default"), report("loop"), report("none")), (None, None, None));
        let config: NextestConfig =
            toml::from_str("store.dir = '/s'\n[profile.default.junit]\npath = '/j/unit.xml'").unwrap();
        assert_eq!(config.report("/w".as_ref(), "any"), Some("/j/unit.xml".into()));
    }
}
