//! `test-clean`: removes what dead runs left, and what belongs to no run, below the test root and nowhere else.

use std::process::ExitCode;

use anyhow::Result;
use etcd_sandbox::{Death, Entry, Listing, Registry, Standing, Swept, Unregistered};
use serde::Serialize;

use crate::cli::{Format, TestClean};
use crate::confirm::{self, Question};
use crate::context::Context;
use crate::output::{self, Exit, Failure};
use crate::runs::standing;

pub(crate) async fn run(args: TestClean, cx: &Context) -> Result<ExitCode> {
    let registry = cx.registry().await?;
    let mut plan = Plan::of(&registry, listing(&args, &registry).await?, &args, cx);
    if let Some(id) = &args.run
        && let Some(kept) = plan.left.first()
    {
        let what = format!("the run `{id}` is {}: {}", kept.state, kept.why);
        let next = "`--all` with `--run` deletes it all the same, and its tests fail".to_owned();
        return Err(Failure { exit: Exit::Refused, what, next }.into());
    }
    if args.dry_run {
        plan.report.dry_run = true;
        plan.report.pretend(&plan.steps);
        return plan.report.print(args.format);
    }
    confirm(&args, &plan, &registry)?;
    for step in std::mem::take(&mut plan.steps) {
        plan.carry_out(step, &registry, cx).await?;
    }
    plan.report.left = plan.left;
    plan.report.print(args.format)
}

async fn listing(args: &TestClean, registry: &Registry) -> Result<Listing> {
    let Some(id) = &args.run else { return Ok(registry.list().await?) };
    match registry.entry(id).await? {
        Some(run) => Ok(Listing::of_run(run)),
        None => {
            let what = format!("there is no run `{id}` below {}", registry.roots());
            let next = "`cargo xtask runs` lists them".to_owned();
            Err(Failure { exit: Exit::Failure, what, next }.into())
        }
    }
}

/// What is to be done, and what is left alone.
struct Plan {
    steps: Vec<Step>,
    left: Vec<Left>,
    report: Report,
}

enum Step {
    /// It is dead for certain.
    Dead(Entry, Death),
    /// Whether it is dead has to be watched.
    Watch(Entry),
    /// It may live, and goes all the same.
    Force(Entry),
    /// It belongs to no run.
    Unregistered(Unregistered),
}

/// What is there when all is done, and why.
#[derive(Serialize)]
struct Left {
    what: String,
    state: &'static str,
    why: &'static str,
    keys: u64,
}

/// What was removed, or would be; `--format json` prints this.
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
    fn of(registry: &Registry, listing: Listing, args: &TestClean, cx: &Context) -> Self {
        let (mut steps, mut left) = (Vec::new(), Vec::new());
        for run in listing.runs {
            let judged = registry.judge(&run);
            let (state, why) = standing(&run, &judged);
            match judged {
                Standing::Dead(proof) => steps.push(Step::Dead(run, proof)),
                _ if args.all => steps.push(Step::Force(run)),
                Standing::Unproven(_) => steps.push(Step::Watch(run)),
                _ => left.push(Left { what: run.id.to_string(), state, why, keys: run.keys }),
            }
        }
        // On the workspace's own instance they are test data by definition; elsewhere somebody else's, perhaps.
        let ours = args.unregistered || cx.is_own_instance();
        for found in listing.unregistered {
            if ours {
                steps.push(Step::Unregistered(found));
            } else {
                let why = "it belongs to no run, and this is not the workspace's own instance: see --unregistered";
                left.push(Left { what: found.range.to_string(), state: "unregistered", why, keys: found.keys });
            }
        }
        Self { steps, left, report: Report::default() }
    }

    async fn carry_out(&mut self, step: Step, registry: &Registry, cx: &Context) -> Result<()> {
        let swept = match step {
            Step::Dead(run, proof) => (run.clone(), registry.sweep(&run, proof).await?),
            Step::Force(run) => (run.clone(), registry.sweep_by_force(&run).await?),
            Step::Watch(run) => match self.watched(&run, registry, cx).await? {
                Some(proof) => (run.clone(), registry.sweep(&run, proof).await?),
                None => return Ok(()),
            },
            Step::Unregistered(found) => {
                let keys = registry.delete_unregistered(&found).await?;
                self.report.add(found.range.to_string(), keys, false);
                return Ok(());
            }
        };
        match swept {
            (run, Swept::Gone(keys)) => self.report.add(run.id.to_string(), keys, true),
            (run, _) => {
                let why = "it changed while it was being removed";
                self.left.push(Left { what: run.id.to_string(), state: "alive", why, keys: run.keys });
            }
        }
        Ok(())
    }

    async fn watched(&mut self, run: &Entry, registry: &Registry, cx: &Context) -> Result<Option<Death>> {
        if let Standing::Unproven(time) = registry.judge(run) {
            cx.note(format_args!("watching {} for {} s, to be sure that it is dead", run.id, time.as_secs()));
        }
        let proof = registry.stays_away(run).await?;
        if proof.is_none() {
            let why = "it gave a sign of life, or etcd did not answer all the time";
            self.left.push(Left { what: run.id.to_string(), state: "alive", why, keys: run.keys });
        }
        Ok(proof)
    }
}

/// Asks before anything goes that may live.
fn confirm(args: &TestClean, plan: &Plan, registry: &Registry) -> Result<()> {
    let live: Vec<&Entry> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Force(run) => Some(run),
            _ => None,
        })
        .collect();
    if live.is_empty() {
        return Ok(());
    }
    let examples: String = live.iter().map(|run| format!("  {}, {} keys\n", run.id, run.keys)).collect();
    let what = format!("{} that may be alive, at {}", runs(live.len() as u64), registry.connection().endpoint());
    confirm::ask(&Question { what: &what, examples: &examples, yes: args.yes })
}

fn runs(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

impl Report {
    fn add(&mut self, what: String, keys: u64, is_run: bool) {
        self.runs += u64::from(is_run);
        self.keys += keys;
        self.removed.push(Removed { what, keys });
    }

    /// What would be removed; what has to be watched is among it, should it prove dead.
    fn pretend(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Dead(run, _) | Step::Watch(run) | Step::Force(run) => {
                    self.add(run.id.to_string(), run.keys, true);
                }
                Step::Unregistered(found) => self.add(found.range.to_string(), found.keys, false),
            }
        }
    }

    fn print(&self, format: Format) -> Result<ExitCode> {
        if format == Format::Json {
            output::json(self)?;
            return Ok(ExitCode::SUCCESS);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!("{verb} {}, {} keys\n", runs(self.runs), self.keys);
        for Removed { what, keys } in &self.removed {
            text.push_str(&format!("  {what}: {keys} keys\n"));
        }
        for Left { what, state, why, keys } in &self.left {
            text.push_str(&format!("left {what}, {keys} keys, {state}: {why}\n"));
        }
        output::text(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
