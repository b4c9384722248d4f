//! The tests of a run with their results, and how to read them from the output of `cargo test`; `nextest_report` reads those of
//! nextest. Runs no test.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, PipeReader, Read as _, Write as _};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// How long to wait for the rest of the output after a command has ended: its remaining children may hold the pipe open.
const REST_TIMEOUT: Duration = Duration::from_secs(2);
/// How many bytes of a failed test's output are kept: the end.
const OUTPUT: usize = 100_000;

/// The tests of one run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TestResults {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Whether both numbers are known: the tests were not killed.
    pub(crate) is_complete: bool,
    /// The tests whose names are known.
    pub(crate) cases: Vec<TestCase>,
}

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestCase {
    /// The test binary, as nextest names it.
    pub(crate) suite: Option<String>,
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) seconds: Option<f64>,
    /// The end of what a failed test has printed, without the control characters of terminals.
    pub(crate) output: String,
    /// The command that runs a failed test alone.
    pub(crate) again: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    /// Failed at first, and passed when it was tried again.
    Flaky,
    Failed,
}

impl TestCase {
    pub(crate) fn full_name(&self) -> String {
        self.suite.iter().map(|suite| format!("{suite} ")).collect::<String>() + &self.name
    }
}

impl TestResults {
    /// The first test that failed here and passed in another run. If a name both passed and failed in one run, it is the name
    /// of two tests, and is ignored.
    pub(crate) fn first_difference(&self, runs: &[&Self]) -> Option<String> {
        let (own_passes, failures) = self.names();
        let others: Vec<_> = runs.iter().map(|run| run.names()).collect();
        let has_passed_elsewhere =
            |name: &String| others.iter().any(|(passes, failures)| passes.contains(name) && !failures.contains(name));
        failures.into_iter().find(|name| !own_passes.contains(name) && has_passed_elsewhere(name))
    }

    /// The names of passed and of failed tests.
    pub(crate) fn names(&self) -> (BTreeSet<String>, Vec<String>) {
        let (failures, passes): (Vec<_>, Vec<_>) = self.cases.iter().partition(|case| case.verdict == Verdict::Failed);
        let name = |case: &TestCase| case.full_name();
        (passes.into_iter().map(name).collect(), failures.into_iter().map(name).collect())
    }
}

/// The end of a text, without control characters, and without the colours of terminals.
pub(crate) fn printable(text: &str) -> String {
    let start = (text.len().saturating_sub(OUTPUT)..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut plain = String::new();
    let mut parts = text.get(start..).unwrap_or_default().split('\u{1b}');
    plain.extend(parts.next());
    for part in parts {
        // A sequence like `[31m`: parameters, and one letter.
        let rest = part.strip_prefix('[').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        plain.push_str(rest.and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_alphabetic())).unwrap_or(part));
    }
    let is_shown = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    plain.chars().flat_map(|c| if is_shown(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// The stdout of a command, copied unchanged to our stdout, while the tests in it are counted.
pub(crate) struct CountedOutput(Receiver<Option<TestResults>>);

impl CountedOutput {
    /// `None` if stdout is a terminal, and nobody needs the names: the command writes to the terminal itself.
    pub(crate) fn of(command: &mut Command, needs_names: bool) -> Result<Option<Self>> {
        if io::stdout().is_terminal() && !needs_names {
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
    Some(counter.finished())
}

/// Reads the output of test binaries, line by line. The output of failed tests follows `failures:`, and may look like results:
/// a result counts only if its number of tests is that of the binary.
#[derive(Default)]
struct LibtestCounter {
    results: TestResults,
    /// The number of tests of the binary.
    tests: u64,
    /// How many tests of earlier binaries there are in the results.
    earlier: usize,
    in_output: bool,
    /// The failed test whose output this is.
    speaker: Option<usize>,
}

impl LibtestCounter {
    fn line(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix("test result: ")
            && let Some([passed, failed, rest]) = counts(text)
            && passed + failed + rest == self.tests
        {
            self.results.passed += passed;
            self.results.failed += failed;
            (self.results.is_complete, self.in_output) = (true, false);
            (self.earlier, self.speaker) = (self.results.cases.len(), None);
        } else if self.in_output {
            self.output(line);
        } else if matches!(line, "failures:" | "successes:") {
            self.in_output = true;
        } else if let Some(tests) = line.strip_prefix("running ").and_then(|rest| rest.split(' ').next()?.parse().ok())
        {
            self.tests = tests;
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            let verdict = match outcome {
                "ok" => Verdict::Passed,
                "FAILED" => Verdict::Failed,
                _ => return,
            };
            let (suite, name, output) = (None, name.to_owned(), String::new());
            self.results.cases.push(TestCase { suite, name, verdict, seconds: None, output, again: None });
        }
    }

    /// A line of what failed tests have printed.
    fn output(&mut self, line: &str) {
        let title = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        let named = |case: &TestCase| Some(case.name.as_str()) == title && case.verdict == Verdict::Failed;
        let of_this_binary = self.results.cases.iter().enumerate().skip(self.earlier);
        if let Some((speaker, _)) = of_this_binary.clone().find(|(_, case)| named(case)) {
            self.speaker = Some(speaker);
        } else if line == "failures:" {
            // The list of names.
            self.speaker = None;
        } else if let Some(case) = self.speaker.and_then(|speaker| self.results.cases.get_mut(speaker)) {
            case.output.push_str(line);
            case.output.push('\n');
        }
    }

    fn finished(mut self) -> TestResults {
        for case in &mut self.results.cases {
            case.output = printable(case.output.trim());
        }
        self.results
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

    fn names(results: &TestResults) -> (Vec<String>, Vec<String>) {
        let (passes, failures) = results.names();
        (passes.into_iter().collect(), failures)
    }

    fn owned(passes: &[&str], failures: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        (owned(passes), owned(failures))
    }

    fn outputs(results: &TestResults) -> Vec<&str> {
        results.cases.iter().map(|case| case.output.as_str()).filter(|output| !output.is_empty()).collect()
    }

    fn libtest(text: &str) -> LibtestCounter {
        let mut counter = LibtestCounter::default();
        text.lines().for_each(|line| counter.line(line));
        counter
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
        let results = counter.finished();
        assert_eq!((results.passed, results.failed, results.is_complete), (2, 1, true));
        assert_eq!(names(&results), owned(&["a", "src/lib.rs - (line 3)"], &["b"]));
        let (output, _) = outputs(&results)[0].split_once("test result").unwrap();
        assert_eq!(output, "running 9 tests\ntest theirs ... ok\n");
        assert!(!libtest("running 2 tests\ntest a ... ok\n").results.is_complete, "it was killed");
    }

    #[test]
    fn what_a_test_has_printed_is_text() {
        assert_eq!(
            printable("\u{1b}[1;31mred\u{1b}[0m\n\t\u{1b}]0;title\u{7} \u{9b}"),
            r"red\n\t]0;title\u{7} \u{9b}".replace(r"\n\t", "\n\t")
        );
        let long = "é".repeat(OUTPUT);
        assert_eq!(printable(&long).len(), OUTPUT);
    }

    #[test]
    fn a_difference_is_a_test_that_passed_elsewhere() {
        let results = |text: &str| libtest(text).results;
        let one = results("test both ... FAILED\ntest twice ... ok\ntest twice ... FAILED\ntest only ... FAILED\n");
        let other = results("test both ... FAILED\ntest twice ... ok\ntest only ... ok\n");
        assert_eq!(one.first_difference(&[&one, &other]).as_deref(), Some("only"));
        assert_eq!(other.first_difference(&[&one, &other]), None);
        assert_eq!(one.first_difference(&[&one]), None);
    }
}
