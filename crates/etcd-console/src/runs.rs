//! `runs`: lists the test runs with their state, age, keys and owner.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Result;
use etcd_sandbox::runs::{AliveProof, Entry, Found, Liveness, Registry, State};
use serde::Serialize;

use crate::cli::{Format, Runs};
use crate::context::Context;
use crate::output;

pub(crate) async fn run(args: Runs, cx: &Context) -> Result<ExitCode> {
    let registry = cx.registry().await?;
    let listing = registry.list().await?;
    let runs: Vec<Line> = listing.runs.iter().map(|run| Line::of(run, &registry)).collect();
    let unregistered: Vec<Unregistered> = listing
        .unregistered
        .iter()
        .map(|found| Unregistered { prefix: found.range.to_string(), keys: found.keys })
        .collect();
    match args.format {
        Format::Json => output::json(&Answer { test_root: registry.roots().test_root(), runs, unregistered })?,
        Format::Text => output::text(&text(&runs, &unregistered, registry.roots().test_root()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    test_root: &'a str,
    runs: Vec<Line>,
    /// Keys that belong to no run.
    unregistered: Vec<Unregistered>,
}

#[derive(Serialize)]
struct Unregistered {
    prefix: String,
    keys: u64,
}

/// One run, as it is shown.
#[derive(Serialize)]
struct Line {
    run: String,
    state: &'static str,
    /// The reason for the state.
    why: &'static str,
    keys: u64,
    host: Option<String>,
    pid: Option<u32>,
    command: Option<String>,
    /// RFC 3339, by that host's clock.
    began: Option<String>,
}

impl Line {
    fn of(run: &Entry, registry: &Registry) -> Self {
        let record = run.found.record();
        let (state, why) = state(run, &registry.liveness(run));
        Self {
            run: run.id.to_string(),
            state,
            why,
            keys: run.keys,
            host: record.map(|record| record.host.clone()),
            pid: record.map(|record| record.pid),
            command: record.map(|record| record.command.clone()),
            began: record.map(|record| record.began.clone()),
        }
    }

    /// Escaped, because anybody can write the record, and a command may contain control characters.
    fn who(&self) -> String {
        let plain = |text: &Option<String>| text.as_deref().unwrap_or_default().escape_debug().to_string();
        let (host, command) = (plain(&self.host), plain(&self.command));
        match self.pid {
            Some(pid) => format!("{host} {pid}: {command}"),
            None => "its record is damaged".to_owned(),
        }
    }
}

/// The run's state, and the reason.
pub(crate) fn state(run: &Entry, liveness: &Liveness) -> (&'static str, &'static str) {
    let kept = run.found.record().is_some_and(|record| record.state == State::Kept);
    match (liveness, &run.found) {
        (Liveness::Alive(AliveProof::Keeper), _) => ("alive", "its heartbeat is current"),
        (Liveness::Alive(_), _) => ("alive", "a process on this machine holds its lock"),
        (Liveness::Dead(_), _) if kept => ("kept", "it ended with --keep"),
        (Liveness::Dead(_), _) => ("dead", "none of its processes on this machine is left"),
        (_, Found::Newer(_)) => ("unknown", "a newer version of this program wrote its record"),
        _ => ("silent", "it has no heartbeat, and this machine cannot see its processes"),
    }
}

fn text(runs: &[Line], unregistered: &[Unregistered], test_root: &str) -> String {
    if runs.is_empty() && unregistered.is_empty() {
        return format!("no runs below {test_root}\n");
    }
    let now = SystemTime::now();
    let age = |line: &Line| -> String {
        let began = line.began.as_deref().and_then(|began| humantime::parse_rfc3339(began).ok());
        let age = began.and_then(|began| now.duration_since(began).ok());
        age.map_or_else(
            || "-".to_owned(),
            |age| {
                let seconds = std::time::Duration::from_secs(age.as_secs());
                let text = humantime::format_duration(seconds).to_string();
                text.split(' ').take(2).collect::<Vec<_>>().join(" ")
            },
        )
    };
    let mut text = format!("{:49}  {:7}  {:>8}  {:>9}  {}\n", "RUN", "STATE", "AGE", "KEYS", "WHO");
    for line in runs {
        text.push_str(&format!(
            "{:49}  {:7}  {:>8}  {:>9}  {}\n",
            line.run,
            line.state,
            age(line),
            line.keys,
            line.who()
        ));
    }
    for Unregistered { prefix, keys } in unregistered {
        text.push_str(&format!("{prefix}: {} that belong to no run\n", output::keys(*keys)));
    }
    text
}
