//! `test-clean`: deletes the keys of dead runs, and keys that belong to no run. Only below the test root.

use std::process::ExitCode;

use anyhow::Result;
use etcd_keys::{Error, ErrorKind};
use etcd_sandbox::runs::{Entry, Listing, Liveness, Registry, RunIdError, Swept, Unregistered};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::cli::{Format, TestClean};
use crate::confirm::{self, Question};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, counted, keys};
use crate::runs::state;

const CHANGED: &str = "it changed while it was being removed";
/// How many ranges of keys a question names.
const EXAMPLES: usize = 10;
const HEARTBEAT: &str = "its heartbeat came back, or etcd did not answer reliably";
const OF_ROOT: &str = "it has a user of its own, whom only a user with the role root can delete";
const OF_NO_RUN: &str = "it belongs to no run; a running test may be using it: see --unregistered";

pub(crate) async fn run(args: TestClean, cx: &Context) -> Result<ExitCode> {
    let registry = cx.registry().await?;
    let mut plan = Plan::of(&registry, listing(&args, &registry, cx).await?, &args);
    if let Some(id) = &args.run
        && let Some(kept) = plan.report.left.first()
    {
        let what = format!("the run `{id}` is {}: {}", kept.state, kept.why);
        let next = "`--all` with `--run` deletes it anyway; its tests fail".to_owned();
        return Err(Failure { exit: Exit::Refused, what, next }.into());
    }
    if args.dry_run {
        if !args.unregistered {
            plan.leave_unregistered();
        }
        return plan.dry_run().print(args.format, cx);
    }
    if !confirm(&args, &plan, &registry).await? {
        return Ok(confirm::declined("deleted", cx));
    }
    if !may_delete_unregistered(&args, &plan, &registry).await? {
        plan.leave_unregistered();
    }
    let done = plan.carry_out(&registry, cx).await;
    // Report what was deleted, also if an error came later.
    let printed = match done.is_ok() || !plan.report.removed.is_empty() {
        true => plan.report.print(args.format, cx),
        false => Ok(ExitCode::SUCCESS),
    };
    // An error of the deletion matters more than an error of printing.
    done.and(printed)
}

async fn listing(args: &TestClean, registry: &Registry, cx: &Context) -> Result<Listing> {
    let Some(id) = &args.run else { return Ok(registry.list().await?) };
    let next = format!("`cargo xtask runs{}` lists them", cx.flags());
    let id = match id.parse() {
        Ok(id) => id,
        Err::<_, RunIdError>(error) => {
            return Err(Failure { exit: Exit::Usage, what: error.to_string(), next }.into());
        }
    };
    match registry.entry(&id).await? {
        Some(run) => Ok(Listing::of_run(run)),
        None => {
            let what = format!("there is no run `{id}` below {}", registry.roots());
            Err(Failure { exit: Exit::Failure, what, next }.into())
        }
    }
}

/// What to do, and the results so far.
#[derive(Default)]
struct Plan {
    /// Runs that are certainly dead.
    dead: Vec<Entry>,
    /// Runs that must be watched to find out whether they are dead.
    silent: Vec<Entry>,
    /// Runs that may be alive, and are deleted because of `--all`.
    forced: Vec<Entry>,
    /// Keys that belong to no run.
    unregistered: Vec<Unregistered>,
    report: Report,
}

/// What is not deleted, and why.
#[derive(Serialize)]
struct Left {
    what: String,
    state: &'static str,
    why: &'static str,
    keys: u64,
}

/// What was or would be deleted. `--format json` prints this.
#[derive(Default, Serialize)]
struct Report {
    dry_run: bool,
    runs: u64,
    keys: u64,
    removed: Vec<Removed>,
    left: Vec<Left>,
}

#[derive(Serialize)]
struct Removed {
    what: String,
    keys: u64,
}

impl Plan {
    fn of(registry: &Registry, listing: Listing, args: &TestClean) -> Self {
        let mut plan = Self::default();
        for run in listing.runs {
            // The liveness of a run may hold its lock open. It is not kept, because hundreds would be too many open files.
            let liveness = registry.liveness(&run);
            let (state, why) = state(&run, &liveness);
            match liveness {
                Liveness::Dead(_) => plan.dead.push(run),
                _ if args.all => plan.forced.push(run),
                Liveness::Unproven(_) => plan.silent.push(run),
                _ => plan.report.leave(&run, state, why),
            }
        }
        plan.unregistered = listing.unregistered;
        plan
    }

    fn leave_unregistered(&mut self) {
        let left = std::mem::take(&mut self.unregistered).into_iter().map(|found| Left {
            what: found.range.to_string(),
            state: "unregistered",
            why: OF_NO_RUN,
            keys: found.keys,
        });
        self.report.left.extend(left);
    }

    /// What would be deleted. Includes the runs that must be watched, in case they prove dead.
    fn dry_run(mut self) -> Report {
        for run in self.dead.iter().chain(&self.silent).chain(&self.forced) {
            self.report.remove(run, run.keys);
        }
        for Unregistered { range, keys, .. } in &self.unregistered {
            self.report.add(range.to_string(), *keys);
        }
        Report { dry_run: true, ..self.report }
    }

    async fn carry_out(&mut self, registry: &Registry, cx: &Context) -> Result<()> {
        let mut watched = self.watch(registry, cx);
        for run in std::mem::take(&mut self.dead) {
            match registry.liveness(&run) {
                Liveness::Dead(proof) => self.report.swept_unless_denied(&run, registry.sweep(&run, proof).await)?,
                _ => self.report.leave(&run, "alive", CHANGED),
            }
        }
        for run in std::mem::take(&mut self.forced) {
            self.report.swept_unless_denied(&run, registry.sweep_by_force(&run).await)?;
        }
        for found in std::mem::take(&mut self.unregistered) {
            let keys = registry.delete_unregistered(&found).await?;
            self.report.add(found.range.to_string(), keys);
        }
        while let Some(ended) = watched.join_next().await {
            match ended? {
                (run, Ok(Some(swept))) => self.report.swept(&run, swept),
                (run, Ok(None)) => self.report.leave(&run, "alive", HEARTBEAT),
                (run, Err(error)) => self.report.swept_unless_denied(&run, Err(error))?,
            }
        }
        Ok(())
    }

    /// Watches all silent runs at once, and sweeps those that prove dead.
    fn watch(&mut self, registry: &Registry, cx: &Context) -> JoinSet<(Entry, Result<Option<Swept>, Error>)> {
        let mut watched = JoinSet::new();
        for run in std::mem::take(&mut self.silent) {
            if let Liveness::Unproven(time) = registry.liveness(&run) {
                cx.note(format_args!("watching {} for {} s, to make sure that it is dead", run.id, time.as_secs()));
            }
            let registry = registry.clone();
            watched.spawn(async move {
                let swept = match registry.prove_dead(&run).await {
                    Ok(Some(proof)) => registry.sweep(&run, proof).await.map(Some),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                (run, swept)
            });
        }
        watched
    }
}

/// Asks before runs are deleted that may be alive.
async fn confirm(args: &TestClean, plan: &Plan, registry: &Registry) -> Result<bool> {
    let live = &plan.forced;
    if live.is_empty() {
        return Ok(true);
    }
    let examples: String = live.iter().map(|run| format!("  {}, {}\n", run.id, keys(run.keys))).collect();
    let what = format!("{} that may be alive, at {}", runs(live.len() as u64), registry.connection().endpoint());
    confirm::ask(&Question { verb: "delete", what: &what, examples: &examples, yes: args.yes, flags: "--yes" }).await
}

/// Whether to delete keys that belong to no run. Tests without a run may be using them, which cannot be detected.
async fn may_delete_unregistered(args: &TestClean, plan: &Plan, registry: &Registry) -> Result<bool> {
    if plan.unregistered.is_empty() || args.unregistered || args.yes || !confirm::can_ask() {
        return Ok(args.unregistered);
    }
    let line = |found: &Unregistered| format!("  {}, {}\n", found.range, keys(found.keys));
    let examples: String = plan.unregistered.iter().take(EXAMPLES).map(line).collect();
    let dots = if plan.unregistered.len() > EXAMPLES { "  …\n" } else { "" };
    let count = keys(plan.unregistered.iter().map(|found| found.keys).sum());
    let what = format!("{count} that no run has registered, at {}", registry.connection().endpoint());
    confirm::ask(&Question {
        verb: "delete",
        what: &what,
        examples: &(examples + dots),
        yes: false,
        flags: "--unregistered",
    })
    .await
}

fn runs(count: u64) -> String {
    counted(count, "run")
}

impl Report {
    fn swept_unless_denied(&mut self, run: &Entry, swept: Result<Swept, Error>) -> Result<()> {
        match swept {
            Err(error) if run.fenced && matches!(error.kind, ErrorKind::Denied(_)) => {
                self.leave(run, "fenced", OF_ROOT);
            }
            swept => self.swept(run, swept?),
        }
        Ok(())
    }

    fn swept(&mut self, run: &Entry, swept: Swept) {
        match swept {
            Swept::Gone(keys) => self.remove(run, keys),
            _ => self.leave(run, "alive", CHANGED),
        }
    }

    fn remove(&mut self, run: &Entry, keys: u64) {
        self.runs += 1;
        self.add(run.id.to_string(), keys);
    }

    fn add(&mut self, what: String, keys: u64) {
        self.keys += keys;
        self.removed.push(Removed { what, keys });
    }

    fn leave(&mut self, run: &Entry, state: &'static str, why: &'static str) {
        self.left.push(Left { what: run.id.to_string(), state, why, keys: run.keys });
    }

    fn print(&self, format: Format, cx: &Context) -> Result<ExitCode> {
        if format == Format::Json {
            output::json(self)?;
            return Ok(ExitCode::SUCCESS);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!("{verb} {}, {}\n", runs(self.runs), keys(self.keys));
        for Removed { what, keys: count } in &self.removed {
            text.push_str(&format!("  {what}: {}\n", keys(*count)));
        }
        for Left { what, state, why, keys: count } in &self.left {
            text.push_str(&format!("left {what}, {}, {state}: {why}\n", keys(*count)));
        }
        // For a dry run this is the requested data, also with --quiet.
        if self.dry_run {
            output::text(&text)?
        } else {
            cx.report(&text)?
        };
        Ok(ExitCode::SUCCESS)
    }
}
