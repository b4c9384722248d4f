//! The document of a report: what is in it. docs/report.md describes it, for readers of other programs. Writes nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::readable_log::LogLine;
use crate::runs::keeper::{Escapes, Leaks, SandboxSummary};
use crate::runs::report::{Facts, Subject};
use crate::runs::server_health::MemberHealth;
use crate::runs::test_results::{TestCase, Verdict};

/// The version of the document. Readers should refuse newer ones.
const SCHEMA: u32 = 1;
/// How many lines of the server's log there are: the last ones.
const LOG_LINES: usize = 1000;
/// The length of the readable part of a sandbox's name: see `name` in etcd-sandbox.
const SANDBOX_NAME: usize = 96;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    subject: Subject,
    run: &'a str,
    prefix: &'a str,
    command: &'a str,
    verdict: &'static str,
    exit_code: Option<i32>,
    seconds: f32,
    etcd: Etcd,
    /// `null`: not known.
    passed: Option<u64>,
    failed: Option<u64>,
    tests: Vec<Test<'a>>,
    /// What sandboxes have written that belong to no known test.
    other_sandboxes: Totals,
    other_timelines: Vec<Box<RawValue>>,
    /// `null`: not known.
    escapes: Option<&'a Escapes>,
    leaks: Option<&'a Leaks>,
    health: Option<&'a [MemberHealth]>,
    /// Whether another process has deleted the run's keys while it ran.
    lost: bool,
    log: Log,
}

#[derive(Serialize)]
struct Etcd {
    description: String,
    version: Option<String>,
    endpoints: Vec<String>,
}

#[derive(Serialize)]
struct Test<'a> {
    suite: Option<&'a str>,
    name: &'a str,
    verdict: Verdict,
    seconds: Option<f64>,
    #[serde(flatten)]
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timelines: Vec<Box<RawValue>>,
}

/// What sandboxes have written.
#[derive(Clone, Copy, Default, Serialize)]
struct Totals {
    sandboxes: u64,
    changes: u64,
    keys: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revisions: Option<(i64, i64)>,
}

impl Totals {
    fn add(&mut self, sandbox: &SandboxSummary) {
        self.sandboxes += 1;
        self.changes += sandbox.changes;
        self.keys += sandbox.keys;
        let (first, last) = self.revisions.unwrap_or(sandbox.revisions);
        self.revisions = Some((first.min(sandbox.revisions.0), last.max(sandbox.revisions.1)));
    }
}

#[derive(Serialize)]
struct Log {
    /// How many lines came before these.
    left_out: usize,
    lines: Vec<LogLine>,
}

/// The timeline of a failed test, as the test wrote it, and what is read of it here.
#[derive(Debug)]
pub(super) struct Timeline {
    head: TimelineHead,
    whole: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct TimelineHead {
    sandbox: String,
    suite: Option<String>,
    test: Option<String>,
    attempt: Option<u32>,
}

/// Reads what failed tests have left in a directory. Incomplete files are left out.
pub(super) fn read_timelines(dir: &Path) -> Result<Vec<Timeline>> {
    let failed = || format!("cannot read `{}`", dir.display());
    let mut timelines = Vec::new();
    for entry in fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if let (Ok(head), Ok(whole)) = (serde_json::from_str(&text), RawValue::from_string(text)) {
            timelines.push(Timeline { head, whole });
        }
    }
    timelines.sort_by(|a, b| (a.head.attempt, &a.head.sandbox).cmp(&(b.head.attempt, &b.head.sandbox)));
    Ok(timelines)
}

impl<'a> Document<'a> {
    pub(super) fn of(facts: &Facts<'a>, health: Option<&'a [MemberHealth]>, timelines: Vec<Timeline>) -> Self {
        let cases = facts.tests.map_or(&[][..], |tests| &tests.cases);
        let names = Names::of(cases);
        let mut tests: Vec<Test<'a>> = cases.iter().map(Test::of).collect();
        let (mut other_sandboxes, mut other_timelines) = (Totals::default(), Vec::new());
        for sandbox in facts.ended.and_then(|ended| ended.sandboxes.as_ref()).into_iter().flatten() {
            let test = names.of_sandbox(&sandbox.name).and_then(|test| tests.get_mut(test));
            test.map_or(&mut other_sandboxes, |test| &mut test.totals).add(sandbox);
        }
        for Timeline { head, whole } in timelines {
            let test = names.of_timeline(&head).and_then(|test| tests.get_mut(test));
            test.map_or(&mut other_timelines, |test| &mut test.timelines).push(whole);
        }
        let counted = facts.tests.filter(|tests| tests.is_complete);
        let (left_out, lines) = facts.server.log_since(facts.log_length, LOG_LINES);
        Self {
            schema: SCHEMA,
            subject: facts.subject,
            run: &facts.run.run,
            prefix: &facts.run.prefix,
            command: facts.command,
            verdict: verdict(facts.exit),
            exit_code: facts.exit.map(Exit::code),
            seconds: facts.seconds,
            etcd: Etcd {
                description: facts.server.describe(),
                version: facts.server.version(),
                endpoints: facts.server.endpoints(),
            },
            passed: counted.map(|tests| tests.passed),
            failed: counted.map(|tests| tests.failed),
            tests,
            other_sandboxes,
            other_timelines,
            escapes: facts.ended.and_then(|ended| ended.escapes.as_ref()),
            leaks: facts.ended.and_then(|ended| ended.leaks.as_ref()),
            health,
            lost: facts.ended.is_some_and(|ended| ended.lost),
            log: Log { left_out, lines: lines.into() },
        }
    }
}

fn verdict(exit: Option<Exit>) -> &'static str {
    match exit {
        Some(Exit::SUCCESS) => "passed",
        Some(Exit::INTERRUPTED) => "interrupted",
        _ => "failed",
    }
}

impl<'a> Test<'a> {
    fn of(case: &'a TestCase) -> Self {
        Self {
            suite: case.suite.as_deref(),
            name: &case.name,
            verdict: case.verdict,
            seconds: case.seconds,
            totals: Totals::default(),
            again: case.again.as_deref(),
            output: &case.output,
            timelines: Vec::new(),
        }
    }
}

/// Finds tests by what runners and sandboxes call them.
struct Names<'a> {
    by_runner: HashMap<(Option<&'a str>, &'a str), usize>,
    by_sandbox: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    fn of(cases: &'a [TestCase]) -> Self {
        let cases = cases.iter().enumerate();
        Self {
            by_runner: cases.clone().map(|(n, case)| ((case.suite.as_deref(), case.name.as_str()), n)).collect(),
            by_sandbox: cases.map(|(n, case)| (sandbox_name(case.suite.as_deref(), &case.name), n)).collect(),
        }
    }

    fn of_timeline(&self, head: &TimelineHead) -> Option<usize> {
        let by_runner = head.test.as_deref().and_then(|test| self.by_runner.get(&(head.suite.as_deref(), test)));
        by_runner.copied().or_else(|| self.of_sandbox(&head.sandbox))
    }

    /// By the name of a sandbox, if that is the path of a test.
    fn of_sandbox(&self, sandbox: &str) -> Option<usize> {
        let (name, _) = sandbox.rsplit_once('~')?;
        // `cargo test` does not tell the crate.
        let without_crate = name.split_once('.').map(|(_, name)| name);
        self.by_sandbox.get(name).or_else(|| self.by_sandbox.get(without_crate?)).copied()
    }
}

/// The name of the sandbox that `#[etcd_sandbox::test]` opens: the path of the test, with other separators.
fn sandbox_name(suite: Option<&str>, test: &str) -> String {
    let binary = suite.map(|suite| suite.rsplit("::").next().unwrap_or(suite));
    let name = binary.map(|binary| binary.rsplit('/').next().unwrap_or(binary).replace('-', "_"));
    let path = name.into_iter().chain([test.replace("::", ".")]).collect::<Vec<_>>().join(".");
    let tail = path.get(path.len().saturating_sub(SANDBOX_NAME)..).unwrap_or_default();
    tail.trim_start_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(suite: Option<&str>, name: &str) -> TestCase {
        let suite = suite.map(str::to_owned);
        TestCase {
            suite,
            name: name.to_owned(),
            verdict: Verdict::Passed,
            seconds: None,
            output: String::new(),
            again: None,
        }
    }

    #[test]
    fn sandboxes_are_those_of_tests() {
        let long = "long::".repeat(20) + "test";
        let nextest = [
            case(Some("my-crate"), "a::b"),
            case(Some("my-crate::the-tests"), "a::b"),
            case(Some("my-crate::bin/x"), &long),
        ];
        let names = Names::of(&nextest);
        for (sandbox, test) in
            [("my_crate.a.b~1", Some(0)), ("the_tests.a.b~0123456789abcdef", Some(1)), ("racks~1", None), ("a.b", None)]
        {
            assert_eq!(names.of_sandbox(sandbox), test, "{sandbox}");
        }
        let path = long.replace("::", ".");
        let tail: String = path.chars().skip(path.len() - SANDBOX_NAME).collect();
        assert_eq!(names.of_sandbox(&format!("{}~1", tail.trim_start_matches('.'))), Some(2));
        let cargo = [case(None, "a::b")];
        assert_eq!(Names::of(&cargo).of_sandbox("any.a.b~1"), Some(0));
        let head = |suite: Option<&str>, test: &str| TimelineHead {
            sandbox: "racks~1".to_owned(),
            suite: suite.map(str::to_owned),
            test: Some(test.to_owned()),
            attempt: None,
        };
        assert_eq!(names.of_timeline(&head(Some("my-crate::the-tests"), "a::b")), Some(1));
        assert_eq!(names.of_timeline(&head(None, "a::b")), None);
        assert_eq!(Names::of(&cargo).of_timeline(&head(None, "a::b")), Some(0));
    }

    #[test]
    fn an_incomplete_timeline_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let whole = r#"{"sandbox":"a~1","suite":null,"test":"a","attempt":2,"entries":[]}"#;
        for (name, text) in [
            ("a~1.json", whole),
            ("b~1.json", r#"{"sandbox":"a~1","suite":"#),
            (".timeline-x", whole),
            ("c~1.json", "{}"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let found = read_timelines(dir.path()).unwrap();
        assert_eq!(found.iter().map(|timeline| timeline.whole.get()).collect::<Vec<_>>(), [whole]);
    }
}
