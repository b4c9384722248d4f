//! Tests that failed and could not say what happened to their keys, because their process was killed or aborted. etcd still
//! has the history, and the run's keeper reads it before it deletes the keys.

use crate::context::Context;
use crate::runs::keeper::Keeper;
use crate::runs::test_results::{TestCase, TestResults, Verdict};

/// How many timelines are shown. A report has all.
const SHOWN: usize = 3;
/// How many are read.
const READ: usize = 100;

/// Says what happened in the sandboxes of such tests.
pub(crate) fn tell(tests: Option<&TestResults>, keeper: &mut Keeper, cx: &Context) {
    let prefix = keeper.run().prefix.clone();
    let failed = tests.into_iter().flat_map(|tests| &tests.cases).filter(|case| case.verdict == Verdict::Failed);
    let sandboxes = failed.flat_map(|case| sandboxes(case, &prefix).map(move |sandbox| (case, sandbox)));
    for (number, (case, sandbox)) in sandboxes.take(READ).enumerate() {
        let Some(timeline) = keeper.timeline(sandbox) else { return };
        if number < SHOWN {
            let name = case.full_name();
            cx.output.note(format_args!(
                "the test {name} ended without saying what happened; its keys:\n{}",
                timeline.trim_end()
            ));
        } else if number == SHOWN {
            cx.output.note("other tests ended like this, too: `--report DIR` has them all");
        }
    }
}

/// The sandboxes that a test says it opened, and of which it told nothing more.
fn sandboxes<'a>(case: &'a TestCase, run: &'a str) -> impl Iterator<Item = &'a str> {
    let opened = case.output.split("Sandbox(`").skip(1);
    let opened = opened.filter_map(move |rest| rest.strip_prefix(run)?.split_once("/`").map(|(name, _)| name));
    let is_told = move |name: &&str| case.output.contains(&format!("what happened under `{run}{name}/`"));
    opened.filter(move |name| !is_told(name) && !case.output.contains("no timeline of the test's keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_told_of_if_its_test_did_not() {
        let output = "Sandbox(`/t/r/a~1/` at etcd 3.7.2)\nwhat happened under `/t/r/a~1/`, by\n\
                      Sandbox(`/t/r/a~2/` at etcd 3.7.2)\nSandbox(`/t/other/a~3/` at etcd 3.7.2)\n";
        let case = |output: &str| TestCase {
            suite: None,
            name: "a".to_owned(),
            verdict: Verdict::Failed,
            seconds: None,
            output: output.to_owned(),
            again: None,
        };
        assert_eq!(sandboxes(&case(output), "/t/r/").collect::<Vec<_>>(), ["a~2"]);
        let without_etcd = format!("{output}no timeline of the test's keys: no etcd\n");
        assert_eq!(sandboxes(&case(&without_etcd), "/t/r/").count(), 0);
    }
}
