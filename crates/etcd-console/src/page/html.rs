//! The page: one HTML file with its style and its script inside, which loads nothing. maud escapes all text.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::output::counted;
use crate::page::model::{Escapes, Leaks, LogLine, MemberHealth, Report, Subject, Test, Timeline};
use crate::page::timeline;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How much earlier and later than a failed test the server's log is shown.
const AROUND: Duration = Duration::from_secs(1);
/// How many of these lines are shown.
const LOG_LINES: usize = 100;

pub(super) fn page(report: &Report) -> Result<String> {
    // What tests have written cannot know it: no script and no style of theirs would be run.
    let nonce = format!("{:016x}", RandomState::new().build_hasher().finish());
    let policy = format!("default-src 'none'; base-uri 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'");
    let title = title(report);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                (head(report, &title))
                main {
                    (warnings(report))
                    @if report.subject == Subject::Tests { (table(report)) }
                    (failures(report)?)
                    (escapes(report.escapes.as_ref(), &report.command))
                    (leaks(report.leaks.as_ref()))
                    (log(report))
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(markup.into_string())
}

fn title(report: &Report) -> String {
    match (report.verdict.as_str(), report.failed, report.passed) {
        ("interrupted", ..) if report.subject == Subject::Command => "The command was interrupted".to_owned(),
        (verdict, ..) if report.subject == Subject::Command => format!("The command {verdict}"),
        ("interrupted", ..) => "The tests were interrupted".to_owned(),
        (_, Some(failed @ 1..), Some(passed)) => format!("{failed} of {} failed", counted(failed + passed, "test")),
        ("passed", _, Some(passed)) => format!("{} passed", counted(passed, "test")),
        (_, Some(0), Some(passed)) => format!("{} passed, but the run failed", counted(passed, "test")),
        (verdict, ..) => format!("The tests {verdict}"),
    }
}

fn head(report: &Report, title: &str) -> Markup {
    let total = |of: fn(&Test) -> u64| report.tests.iter().map(of).sum::<u64>();
    let changes = total(|test| test.totals.changes) + report.other_sandboxes.changes;
    let keys = total(|test| test.totals.keys) + report.other_sandboxes.keys;
    html! {
        header class=(report.verdict) {
            h1 { (title) }
            dl {
                dt { "run" } dd { (report.run) }
                dt { "etcd" } dd { (report.etcd.description) }
                dt { "time" } dd { (format!("{:.1} s", report.seconds)) }
                @if let Some(code) = report.exit_code { dt { "exit code" } dd { (code) } }
                dt { "keys" } dd { (keys) " created, " (changes) " changes, below " code { (report.prefix) } }
                dt { "server" } dd { (health(report.health.as_deref())) }
                dt { "again" } dd { code { (report.command) } }
            }
        }
    }
}

/// How the server did during the run; of several members, the slowest and the one that saw most changes.
fn health(members: Option<&[MemberHealth]>) -> String {
    let counts = |of: fn(&MemberHealth) -> Option<u64>| members.into_iter().flatten().filter_map(of);
    let Some(changes) = counts(|member| member.leader_changes).max() else {
        return "how it did is not known: its metrics could not be read".to_owned();
    };
    let fsyncs = counts(|member| member.fsyncs).sum();
    let some = members.into_iter().flatten().filter(|member| member.fsyncs > Some(0));
    let slowest = some.map(|member| member.fsync_p99_seconds.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
    let how = match slowest {
        0.0 => String::new(),
        seconds if seconds.is_finite() => format!(", 99 of 100 within {:.0} ms", seconds * 1e3),
        _ => ", more than 1 of 100 slower than etcd distinguishes".to_owned(),
    };
    format!("{}{how}; {}", counted(fsyncs, "fsync"), counted(changes, "leader change"))
}

fn warnings(report: &Report) -> Markup {
    let faults = report.health.iter().flatten().filter_map(|member| Some((&member.member, member.fault.as_ref()?)));
    html! {
        @for (member, fault) in faults {
            p.warning { "The server's member " code { (member) } " " (fault) "." }
        }
        @if report.lost {
            p.warning { "Another process has deleted this run's keys while it ran: the results are not reliable." }
        }
    }
}

fn table(report: &Report) -> Markup {
    let mut tests: Vec<(usize, &Test)> = report.tests.iter().enumerate().collect();
    let rank = |test: &Test| match test.verdict.as_str() {
        "failed" => 0,
        "flaky" => 1,
        _ => 2,
    };
    tests.sort_by_key(|(_, test)| rank(test));
    html! {
        section {
            h2 { "Tests" }
            @if tests.is_empty() {
                p { "The names of the tests are not known. With nextest, or if stdout is not a terminal, they are." }
            } @else {
                p.filter {
                    label { "Filter " input id="filter" type="search" placeholder="part of a name; / goes here"; }
                    label {
                        "Show " select id="verdict" {
                            option value="" { "all" }
                            option value="failed" { "failed" }
                            option value="flaky" { "flaky" }
                            option value="passed" { "passed" }
                        }
                    }
                    output id="shown" for="filter verdict" {}
                }
                div.scroll {
                    table id="tests" {
                        thead { tr {
                            th { "result" } th { "test" } th.n { "seconds" } th.n { "keys" } th.n { "changes" }
                            th { "revisions" }
                        } }
                        tbody {
                            @for (number, test) in tests { (row(number, test)) }
                        }
                    }
                }
            }
            @if report.other_sandboxes.changes > 0 {
                p { "Sandboxes whose test is not known: " (counted(report.other_sandboxes.changes, "change")) "." }
            }
        }
    }
}

fn row(number: usize, test: &Test) -> Markup {
    let name = html! { @if let Some(suite) = &test.suite { span.suite { (suite) } " " } (test.name) };
    html! {
        tr data-verdict=(test.verdict) {
            td class=(test.verdict) { (test.verdict) }
            td { @if has_details(test) { a href=(format!("#test-{number}")) { (name) } } @else { (name) } }
            td.n { @if let Some(seconds) = test.seconds { (format!("{seconds:.3}")) } }
            td.n { @if test.totals.changes > 0 { (test.totals.keys) } }
            td.n { @if test.totals.changes > 0 { (test.totals.changes) } }
            td { @if let Some((first, last)) = test.totals.revisions { (first) "–" (last) } }
        }
    }
}

fn has_details(test: &Test) -> bool {
    !test.timelines.is_empty() || !test.output.is_empty()
}

fn failures(report: &Report) -> Result<Markup> {
    let mut sections = Vec::new();
    for (number, test) in report.tests.iter().enumerate().filter(|(_, test)| has_details(test)) {
        let timelines = timelines(&test.timelines, report)?;
        sections.push(html! {
            section.test id=(format!("test-{number}")) {
                h2 {
                    span class=(test.verdict) { (test.verdict) } " "
                    @if let Some(suite) = &test.suite { span.suite { (suite) } " " } (test.name)
                }
                @if let Some(again) = &test.again { p { "Again: " code { (again) } } }
                (timelines)
                @if !test.output.is_empty() {
                    details open[test.timelines.is_empty()] { summary { "Output" } pre { (test.output) } }
                }
            }
        });
    }
    let others = timelines(&report.other_timelines, report)?;
    Ok(html! {
        @for section in sections { (section) }
        @if !report.other_timelines.is_empty() {
            section.test {
                h2 {
                    @match report.subject {
                        Subject::Tests => "Failed, in tests whose names are not known",
                        Subject::Command => "What happened to the keys",
                    }
                }
                (others)
            }
        }
    })
}

fn timelines(all: &[Timeline], report: &Report) -> Result<Markup> {
    let mut drawn = Vec::new();
    for timeline in all {
        let data = timeline::data(timeline)?;
        let changes = counted(timeline::number_of_changes(timeline).try_into().unwrap_or(u64::MAX), "change");
        let keys = counted(timeline.keys.try_into().unwrap_or_default(), "key");
        let lines = lines_around(timeline, &report.log.lines);
        drawn.push(html! {
            p {
                @if let Some(attempt) = timeline.attempt.filter(|_| all.len() > 1) { "Attempt " (attempt) ": " }
                (changes) " under " code { (timeline.prefix) } "; " (keys) " left. "
                @match timeline.seconds {
                    Some(seconds) => { "Failed at " (timeline.ended) ", after " (format!("{seconds:.3} s")) "." }
                    None => { "By etcd's history at " (timeline.ended) ", when the run ended." }
                }
                @if timeline.is_compacted {
                    " What happened before revision " (timeline.first_revision) " is compacted."
                }
            }
            div.timeline data-name=(timeline.sandbox) {
                script type="application/json" { (PreEscaped(data)) }
                noscript { p { "The timeline is drawn by a script. report.json has it, too." } }
            }
            @if !lines.is_empty() {
                details { summary { "The server's log meanwhile (" (lines.len()) ")" } (log_lines(lines.into_iter())) }
            }
        });
    }
    Ok(html! { @for timeline in drawn { (timeline) } })
}

/// What the server has written while a test ran, and a moment before and after.
fn lines_around<'a>(timeline: &Timeline, lines: &'a [LogLine]) -> Vec<&'a LogLine> {
    let Ok(ended) = timeline.ended.parse::<Timestamp>() else { return Vec::new() };
    let Some(seconds) = timeline.seconds else { return Vec::new() };
    let ran_for = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let (Ok(from), Ok(to)) = (ended.checked_sub(ran_for + AROUND), ended.checked_add(AROUND)) else {
        return Vec::new();
    };
    let is_meanwhile = |line: &&LogLine| line.time.parse::<Timestamp>().is_ok_and(|time| (from..=to).contains(&time));
    lines.iter().filter(is_meanwhile).take(LOG_LINES).collect()
}

fn escapes(escapes: Option<&Escapes>, command: &str) -> Markup {
    html! {
        section {
            h2 { "Changes outside of this run's keys" }
            @match escapes {
                None => p { "Not known." },
                Some(escapes) if escapes.changes == 0 => p { "None." },
                Some(escapes) => {
                    p {
                        (counted(escapes.changes, "change")) " in the revisions " (escapes.revisions.0) " to "
                        (escapes.revisions.1) ", by this run or by others meanwhile. "
                        @if !command.contains("--deny") { code { "--deny escapes" } " makes that a failure." }
                    }
                    ul { @for key in &escapes.keys { li { code { (key) } } } }
                },
            }
        }
    }
}

fn leaks(leaks: Option<&Leaks>) -> Markup {
    html! {
        section {
            h2 { "Leases, locks and processes that are left" }
            @match leaks {
                None => p { "Not known." },
                Some(Leaks { leases: 0, locks: 0, without_keys: 0, processes, .. }) if processes.is_empty() => p { "None." },
                Some(leaks) => {
                    p {
                        (counted(leaks.locks, "lock")) ", " (counted(leaks.leases, "lease")) " with keys of the run; "
                        (counted(leaks.without_keys, "lease")) " without keys, which others may have been granted."
                    }
                    ul {
                        @for process in &leaks.processes { li { "process " code { (process) } } }
                        @for lease in &leaks.named {
                            li {
                                "lease " code { (lease.id) } ", " (lease.ttl) " s"
                                @if lease.is_lock { ", lock " code { (lease.key) } }
                                @else if lease.keys > 0 { ", " (counted(lease.keys, "key")) " like " code { (lease.key) } }
                            }
                        }
                    }
                },
            }
        }
    }
}

fn log(report: &Report) -> Markup {
    let lines = &report.log.lines;
    let warnings = lines.iter().filter(|line| is_warning(line)).count();
    html! {
        section {
            h2 { "The server's log" }
            @if lines.is_empty() {
                p { "Nothing was written to it during the run, or it is not on this machine." }
            } @else {
                details {
                    summary { (lines.len()) " lines, " (warnings) " of them warnings or errors" }
                    @if report.log.left_out > 0 { p { (report.log.left_out) " earlier lines are left out." } }
                    (log_lines(lines.iter()))
                }
            }
        }
    }
}

fn is_warning(line: &LogLine) -> bool {
    !matches!(line.level.as_str(), "DEBUG" | "INFO")
}

fn log_lines<'a>(lines: impl Iterator<Item = &'a LogLine>) -> Markup {
    html! {
        pre.log {
            @for line in lines {
                @if is_warning(line) { strong { (line.time) " " (line.level) " " (line.text) } }
                @else { (line.time) " " (line.level) " " (line.text) }
                "\n"
            }
        }
    }
}
