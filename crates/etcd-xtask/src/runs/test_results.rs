//! The numbers and names of passed and failed tests, from nextest's JUnit report or from the output of `cargo test`. Runs no
//! test.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, PipeReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long to wait for the rest of the output after a command has ended: its remaining children may hold the pipe open.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// The tests of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestResults {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// The known names.
    passes: BTreeSet<String>,
    /// The known names, in the order of the report.
    failures: Vec<String>,
}

impl TestResults {
    /// The first test that failed here and passed in another run. If a name both passed and failed in one run, it is the name
    /// of two tests, and is ignored.
    pub(crate) fn first_difference(&self, runs: &[&Self]) -> Option<&str> {
        let mut failures = self.failures.iter().filter(|name| !self.passes.contains(*name));
        let has_passed_in = |run: &Self, name| run.passes.contains(name) && !run.failures.contains(name);
        failures.find(|name| runs.iter().any(|run| has_passed_in(run, name))).map(String::as_str)
    }

    fn add(&mut self, name: String, has_passed: bool) {
        if has_passed {
            self.passes.insert(name);
        } else {
            self.failures.push(name);
        }
    }
}

/// nextest's JUnit report, in a directory that the caller deletes. The nextest configuration of the workspace has priority
/// over the configuration here: if it sets the path of the report, this report is not written.
pub(crate) struct NextestReport {
    config: PathBuf,
    report: PathBuf,
}

impl NextestReport {
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let (config, report) = (dir.join("nextest.toml"), dir.join("junit.xml"));
        // TOML has the same escapes as JSON.
        let path = serde_json::to_string(&report)?;
        let text = format!("[profile.default.junit]\npath = {path}\nstore-failure-output = false\n");
        std::fs::write(&config, text).with_context(|| format!("cannot write `{}`", config.display()))?;
        Ok(Self { config, report })
    }

    /// The arguments that make `nextest run` write the report.
    pub(crate) fn args(&self) -> [String; 2] {
        ["--tool-config-file".to_owned(), format!("etcd-xtask:{}", self.config.display())]
    }

    pub(crate) fn read(&self) -> Option<TestResults> {
        in_junit(&std::fs::read_to_string(&self.report).ok()?)
    }
}

fn in_junit(text: &str) -> Option<TestResults> {
    let document = roxmltree::Document::parse(text).ok()?;
    let mut results = TestResults::default();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let binary = case.parent_element()?.attribute("name")?;
        // Setup scripts are reported as suites, too.
        if binary.starts_with('@') {
            continue;
        }
        let has_failed = case.children().any(|node| node.has_tag_name("failure") || node.has_tag_name("error"));
        *(if has_failed { &mut results.failed } else { &mut results.passed }) += 1;
        results.add(format!("{binary} {}", case.attribute("name")?), !has_failed);
    }
    Some(results)
}

/// The stdout of a command, copied unchanged to our stdout, while the tests in it are counted.
pub(crate) struct CountedOutput(Receiver<Option<TestResults>>);

impl CountedOutput {
    /// `None` if stdout is a terminal: the command writes to the terminal itself.
    pub(crate) fn of(command: &mut Command) -> Result<Option<Self>> {
        if io::stdout().is_terminal() {
            return Ok(None);
        }
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        command.stdout(writer);
        let (sender, results) = channel();
        std::thread::spawn(move || sender.send(pass_on(reader)));
        Ok(Some(Self(results)))
    }

    /// Call this after the command has ended and was dropped: a `Command` holds an end of the pipe.
    pub(crate) fn results(self) -> Option<TestResults> {
        self.0.recv_timeout(REST_TIMEOUT).ok().flatten()
    }
}

fn pass_on(mut output: PipeReader) -> Option<TestResults> {
    let (mut counter, mut line) = (LibtestCounter::default(), Vec::new());
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = output.read(&mut buffer) {
        let read = buffer.get(..read)?;
        let mut stdout = io::stdout().lock();
        // If our stdout is closed, close the command's pipe, too.
        stdout.write_all(read).and_then(|()| stdout.flush()).ok()?;
        for byte in read {
            if *byte == b'\n' {
                counter.line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    counter.has_result.then_some(counter.results)
}

/// Reads the output of test binaries, line by line. The output of failed tests follows `failures:`, and may look like results:
/// a result counts only if its number of tests is that of the binary.
#[derive(Default)]
struct LibtestCounter {
    results: TestResults,
    has_result: bool,
    /// The number of tests of the binary.
    tests: u64,
    in_output: bool,
}

impl LibtestCounter {
    fn line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix("test result: ") {
            if let Some([passed, failed, rest]) = counts(text)
                && passed + failed + rest == self.tests
            {
                self.results.passed += passed;
                self.results.failed += failed;
                (self.has_result, self.in_output) = (true, false);
            }
        } else if self.in_output {
        } else if matches!(line, "failures:" | "successes:") {
            self.in_output = true;
        } else if let Some(tests) = line.strip_prefix("running ").and_then(|rest| rest.split(' ').next()?.parse().ok())
        {
            self.tests = tests;
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            match outcome {
                "ok" => self.results.add(name.to_owned(), true),
                "FAILED" => self.results.add(name.to_owned(), false),
                _ => {}
            }
        }
    }
}

/// Of `FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; …`: passed, failed, and the number of other tests.
fn counts(result: &str) -> Option<[u64; 3]> {
    let (_, text) = result.split_once(". ")?;
    let count = |what: &str| text.split("; ").find_map(|part| part.strip_suffix(what)?.trim_end().parse::<u64>().ok());
    Some([count("passed")?, count("failed")?, count("ignored")? + count("measured")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(results: &TestResults) -> (Vec<&str>, Vec<&str>) {
        (results.passes.iter().map(String::as_str).collect(), results.failures.iter().map(String::as_str).collect())
    }

    fn libtest(text: &str) -> LibtestCounter {
        let mut counter = LibtestCounter::default();
        text.lines().for_each(|line| counter.line(line));
        counter
    }

    #[test]
    fn a_report_of_nextest_is_read() {
        let results = in_junit(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3">
    <testsuite name="@setup-script:db"><testcase name="db"/></testsuite>
    <testsuite name="play::cli">
        <testcase name="a" classname="play::cli"/>
        <testcase name="b&lt;T&gt;"><failure type="test failure">x</failure></testcase>
        <testcase name="flaky"><flakyFailure type="test failure"/></testcase>
        <testcase name="hung"><failure type="test timeout"/><rerunFailure/></testcase>
    </testsuite>
</testsuites>"#,
        )
        .unwrap();
        assert_eq!((results.passed, results.failed), (2, 2));
        let wanted = (vec!["play::cli a", "play::cli flaky"], vec!["play::cli b<T>", "play::cli hung"]);
        assert_eq!(names(&results), wanted);
        assert_eq!(in_junit("<testsuites"), None);
    }

    #[test]
    fn what_failed_tests_print_is_not_counted() {
        let text = "
running 3 tests
test a ... ok
test b ... FAILED
test c ... ignored, too slow

failures:

---- b stdout ----

running 9 tests
test theirs ... ok
test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

failures:
    b

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s

running 1 test
test src/lib.rs - (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s; merged
";
        let counter = libtest(text);
        assert_eq!((counter.results.passed, counter.results.failed, counter.has_result), (2, 1, true));
        assert_eq!(names(&counter.results), (vec!["a", "src/lib.rs - (line 3)"], vec!["b"]));
        assert!(!libtest("running 2 tests\ntest a ... ok\n").has_result, "it was killed");
    }

    #[test]
    fn a_difference_is_a_test_that_passed_elsewhere() {
        let results = |text: &str| libtest(text).results;
        let one = results("test both ... FAILED\ntest twice ... ok\ntest twice ... FAILED\ntest only ... FAILED\n");
        let other = results("test both ... FAILED\ntest twice ... ok\ntest only ... ok\n");
        assert_eq!(one.first_difference(&[&one, &other]), Some("only"));
        assert_eq!(other.first_difference(&[&one, &other]), None);
        assert_eq!(one.first_difference(&[&one]), None);
    }
}
