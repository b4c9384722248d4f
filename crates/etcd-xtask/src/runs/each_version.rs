//! `run` and `test` on several etcds, one after the other: a run on each, then one table and the worst exit code.

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

/// What happens on one etcd.
pub(crate) struct Attempt<'a> {
    /// The etcd that was named, if any.
    pub(crate) wanted: Option<&'a Wanted>,
    /// Whether others are named beside it.
    pub(crate) is_one_of_several: bool,
    /// How its tests went, where that can be counted.
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

    /// To be called when etcd runs, before anything is run on it.
    ///
    /// # Errors
    /// If several were named and another was started in this one's place.
    pub(crate) fn begin(&mut self, started: Option<&Version>) -> Result<()> {
        let (Some(wanted), Some(version), true) = (self.wanted, started, self.is_one_of_several) else { return Ok(()) };
        if !wanted.accepts(version) {
            let next = format!("`cargo xtask etcd-install \"{wanted}\"` says why it cannot be installed");
            return Err(Failure::of(format!("there is no etcd {wanted}; {version} would take its place"), next));
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

/// Does `attempt` on each etcd, or once where none or one is named. After an interrupt there is no next one.
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

/// A row for each etcd. Columns of which nothing is known are left out.
fn table(attempts: &[Attempt<'_>]) -> String {
    let tests: Vec<&TestResults> = attempts.iter().filter_map(|attempt| attempt.tests.as_ref()).collect();
    let difference = |attempt: &Attempt<'_>| Some(attempt.tests.as_ref()?.first_difference(&tests)?.to_owned());
    let is_counted = !tests.is_empty();
    let has_difference = attempts.iter().any(|attempt| difference(attempt).is_some());
    let row = |cells: [Option<String>; 6]| {
        let shown = [true, is_counted, is_counted, true, has_difference, true];
        let cells = cells.into_iter().zip(shown).filter(|(_, is_shown)| *is_shown);
        cells.map(|(cell, _)| cell.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>()
    };
    let header = ["VERSION", "PASSED", "FAILED", "TIME", "FIRST DIFFERENCE", "RESULT"];
    let rows = attempts.iter().map(|attempt| {
        let count = |count: fn(&TestResults) -> u64| attempt.tests.as_ref().map(|tests| count(tests).to_string());
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
