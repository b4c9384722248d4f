//! `run` and `test` on several etcds, one after the other: a run on each etcd, then a table and the worst exit code.

use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_local::binary::Wanted;
use semver::Version;

use crate::advice;
use crate::child::Interrupts;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::runs::test_results::TestResults;

/// A run on one etcd, and its result.
pub(crate) struct Attempt<'a> {
    /// The etcd of `--etcd`.
    pub(crate) wanted: Option<&'a Wanted>,
    /// Whether `--etcd` names several.
    pub(crate) is_one_of_several: bool,
    /// The results of its tests, if they can be counted.
    pub(crate) tests: Option<TestResults>,
    version: String,
    began: Option<Instant>,
    took: Option<Duration>,
    result: String,
}

impl<'a> Attempt<'a> {
    fn of(wanted: Option<&'a Wanted>, is_one_of_several: bool) -> Self {
        let version = wanted.map(ToString::to_string).unwrap_or_default();
        Self { wanted, is_one_of_several, tests: None, version, began: None, took: None, result: String::new() }
    }

    /// Records that etcd was started, and its version.
    ///
    /// # Errors
    /// If `--etcd` names several, and another version than this one was started.
    pub(crate) fn begin(&mut self, started: Option<&Version>) -> Result<()> {
        let (Some(wanted), Some(version), true) = (self.wanted, started, self.is_one_of_several) else { return Ok(()) };
        if !wanted.accepts(version) {
            let next = format!("`cargo xtask etcd-install \"{wanted}\"` shows why it cannot be installed");
            return Err(Failure::of(
                format!("etcd `{wanted}` is not available, and {version} is no substitute in a comparison"),
                next,
            ));
        }
        self.version = match wanted {
            Wanted::At(path) => format!("{version} {}", path.display()),
            _ => version.to_string(),
        };
        self.began = Some(Instant::now());
        Ok(())
    }

    fn end(&mut self, result: Result<Exit>) -> Exit {
        self.took = self.began.map(|began| began.elapsed());
        match result {
            Ok(exit) => {
                self.result = if exit == Exit::SUCCESS { "passed".to_owned() } else { exit.to_string() };
                exit
            }
            Err(error) => {
                self.result = error.to_string().lines().next().unwrap_or_default().to_owned();
                advice::print(&error)
            }
        }
    }
}

/// Calls `attempt` for each etcd, or once if `versions` has none or one. Stops after an interrupt.
pub(crate) fn on_each(
    versions: &[Wanted],
    interrupts: &Interrupts,
    cx: &Context,
    mut attempt: impl FnMut(&mut Attempt<'_>) -> Result<Exit>,
) -> Result<Exit> {
    if versions.len() < 2 {
        return attempt(&mut Attempt::of(versions.first(), false));
    }
    let (mut attempts, mut worst) = (Vec::new(), Exit::SUCCESS);
    for wanted in versions {
        let mut this = Attempt::of(Some(wanted), true);
        let result = attempt(&mut this);
        if interrupts.any() {
            return result.and(Ok(Exit::INTERRUPTED));
        }
        let exit = this.end(result);
        worst = if exit.code() > worst.code() { exit } else { worst };
        attempts.push(this);
    }
    cx.output.note(format_args!("\n{}", table(&attempts).trim_end()));
    Ok(worst)
}

/// One row for each etcd. Columns without a value are left out.
fn table<'a>(attempts: &'a [Attempt<'_>]) -> String {
    let counted = |attempt: &'a Attempt<'_>| attempt.tests.as_ref().filter(|tests| tests.is_complete);
    let tests: Vec<&TestResults> = attempts.iter().filter_map(counted).collect();
    let difference = |attempt: &'a Attempt<'_>| counted(attempt)?.first_difference(&tests);
    let is_counted = !tests.is_empty();
    let has_difference = attempts.iter().any(|attempt| difference(attempt).is_some());
    let row = |cells: [Option<String>; 6]| {
        let shown = [true, is_counted, is_counted, true, has_difference, true];
        let cells = cells.into_iter().zip(shown).filter(|(_, is_shown)| *is_shown);
        cells.map(|(cell, _)| cell.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>()
    };
    let header = ["VERSION", "PASSED", "FAILED", "TIME", "FIRST DIFFERENCE", "RESULT"];
    let rows = attempts.iter().map(|attempt| {
        let count = |count: fn(&TestResults) -> u64| counted(attempt).map(|tests| count(tests).to_string());
        row([
            Some(attempt.version.clone()),
            count(|tests| tests.passed),
            count(|tests| tests.failed),
            attempt.took.map(|took| format!("{:.1} s", took.as_secs_f32())),
            difference(attempt),
            Some(attempt.result.clone()),
        ])
    });
    let rows: Vec<_> = std::iter::once(row(header.map(|name| Some(name.to_owned())))).chain(rows).collect();
    output::table(&rows)
}
