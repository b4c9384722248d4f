//! What GitHub Actions shows of failed tests: an annotation at the line of each, and a summary of the job. Written by itself,
//! where the variables of GitHub Actions say that it runs there.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use crate::runs::report::Facts;
use crate::runs::test_results::{TestCase, Verdict};

/// How many annotations there are: GitHub shows no more than ten of a step.
const ANNOTATIONS: usize = 50;
/// How many failed tests the summary has with their output, and how many bytes of it.
const OUTPUTS: usize = 40;
const OUTPUT: usize = 16_000;
/// How many lines an annotation has.
const LINES: usize = 60;

/// Whether this is a job of GitHub Actions.
pub(crate) fn is_here(cx: &Context) -> bool {
    cx.env.var("GITHUB_ACTIONS") == Some("true")
}

/// Tells GitHub how the tests of a run went. Only warns if that is not possible.
pub(crate) fn tell(facts: &Facts<'_>, cx: &Context) {
    let Some(tests) = facts.tests.filter(|_| is_here(cx)) else { return };
    let failed: Vec<&TestCase> = tests.cases.iter().filter(|case| case.verdict == Verdict::Failed).collect();
    let annotations: String = failed.iter().take(ANNOTATIONS).map(|case| annotation(case, cx)).collect();
    let told = output::answer_text(&annotations).and_then(|()| summarise(facts, &failed, cx));
    if let Err(error) = told {
        cx.output.warn(format_args!("GitHub is not told of the results: {error:#}"));
    }
}

/// The command by which a program tells GitHub of an error.
fn annotation(case: &TestCase, cx: &Context) -> String {
    let mut place = String::new();
    if let Some((file, line)) = location(&case.output).and_then(|(file, line)| Some((in_repository(file, cx)?, line))) {
        let _ = write!(place, "file={},line={line},", property(&file));
    }
    let message = message(&case.output);
    format!("::error {place}title={}::{}\n", property(&format!("{} failed", case.name)), data(&message))
}

/// A path as GitHub has it: relative to the repository. `None`: the file is not in it.
fn in_repository(file: &str, cx: &Context) -> Option<String> {
    let root = cx.env.path_var("GITHUB_WORKSPACE").unwrap_or_else(|| cx.workspace.clone());
    let path = cx.workspace.join(file);
    let inside = path.strip_prefix(root).ok()?;
    path.is_file().then(|| inside.to_string_lossy().replace('\\', "/"))
}

/// The file and the line of the first panic in the output of a test.
fn location(output: &str) -> Option<(&str, u32)> {
    output.lines().find_map(|line| {
        let (_, place) = line.split_once(" panicked at ")?;
        let mut parts = place.trim_end_matches(':').rsplitn(3, ':');
        let (_column, line, file) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        Some((file, line))
    })
}

/// What a test has said of its failure: what the panic says, or the error, and the timeline.
fn message(output: &str) -> String {
    let lines = || output.lines().map(str::trim_end);
    let is_end = |line: &str| line.is_empty() || line.starts_with("note: ") || line.starts_with("stack backtrace:");
    let panic = lines().skip_while(|line| !line.contains(" panicked at ")).skip(1).take_while(|line| !is_end(line));
    let error = lines().skip_while(|line| !line.starts_with("Error: ")).take_while(|line| !is_end(line));
    let timeline = lines().skip_while(|line| !line.starts_with("what happened under `"));
    let timeline = timeline.enumerate().take_while(|(number, line)| *number == 0 || line.starts_with(' '));
    let mut said: Vec<&str> = panic.collect();
    if said.is_empty() {
        said.extend(error);
    }
    said.extend(timeline.map(|(_, line)| line));
    said.truncate(LINES);
    if said.is_empty() { "its output is in the log".to_owned() } else { said.join("\n") }
}

/// Text as a command takes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same for a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn summarise(facts: &Facts<'_>, failed: &[&TestCase], cx: &Context) -> Result<()> {
    let Some(path) = cx.env.path_var("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let file = fs::OpenOptions::new().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(summary(facts, failed).as_bytes()));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

/// Markdown, with the output of failed tests folded.
fn summary(facts: &Facts<'_>, failed: &[&TestCase]) -> String {
    let counts = facts.tests.filter(|tests| tests.is_complete).map(|tests| (tests.failed, tests.passed));
    let title = match counts {
        Some((0, _)) if facts.exit != Some(Exit::SUCCESS) => "All tests passed, but the run failed".to_owned(),
        Some((0, 1)) => "1 test passed".to_owned(),
        Some((0, passed)) => format!("{passed} tests passed"),
        Some((failed, passed)) => format!("{failed} of {} tests failed", failed + passed),
        None => "The tests did not end".to_owned(),
    };
    let mut text = format!("## {title}\n\n{} in {:.1} s\n\n", escaped(&facts.server.describe()), facts.seconds);
    for case in failed.iter().take(OUTPUTS) {
        let suite = case.suite.iter().map(|suite| format!("{} ", escaped(suite))).collect::<String>();
        let name = escaped(&case.name);
        let _ = write!(text, "<details><summary>{suite}<b>{name}</b></summary>\n\n<pre>{}</pre>\n\n</details>\n\n", {
            escaped(end(&case.output))
        });
    }
    if failed.len() > OUTPUTS {
        let _ = writeln!(text, "and {} more\n", failed.len() - OUTPUTS);
    }
    text
}

/// The end of an output, which says most.
fn end(output: &str) -> &str {
    let start = (output.len().saturating_sub(OUTPUT)..).find(|at| output.is_char_boundary(*at)).unwrap_or(0);
    output.get(start..).unwrap_or_default().trim_end()
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT_OF_TEST: &str = "Sandbox(`/a/` at http://127.0.0.1:1)

thread 'tests::a' (12) panicked at crates/a/src/lib.rs:12:5:
100%: left
 right
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
what happened under `/a/`, by etcd's history (1 change):
  rev 2 PUT a `1`
end";

    #[test]
    fn the_place_and_the_message_are_those_of_the_panic() {
        assert_eq!(location(OUTPUT_OF_TEST), Some(("crates/a/src/lib.rs", 12)));
        assert_eq!(location("thread 'a' panicked at C:\\a\\b.rs:1:2:\nx"), Some(("C:\\a\\b.rs", 1)));
        assert_eq!(location("panicked at 'old', a.rs\n panicked at :"), None);
        let wanted = "100%: left\n right\nwhat happened under `/a/`, by etcd's history (1 change):\n  rev 2 PUT a `1`";
        assert_eq!(message(OUTPUT_OF_TEST), wanted);
        assert_eq!(message("Error: no such key\n\nmore"), "Error: no such key");
        assert_eq!(message("whatever"), "its output is in the log");
    }

    #[test]
    fn no_text_ends_a_command_or_the_html() {
        assert_eq!(data("a%\r\n::error::b"), "a%25%0D%0A::error::b");
        assert_eq!(property("a:b,c\n"), "a%3Ab%2Cc%0A");
        assert_eq!(escaped("<b>&</pre>"), "&lt;b&gt;&amp;&lt;/pre&gt;");
        assert!(end(&"é".repeat(OUTPUT)).len() <= OUTPUT);
    }
}
