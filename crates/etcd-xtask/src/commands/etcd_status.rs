//! `etcd-status`: describes an instance.

use anyhow::Result;
use etcd_local::{Health, State, Status};
use serde::Serialize;

use crate::advice;
use crate::cli::{EtcdStatus, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::health::{self, Report};
use crate::output;

pub(crate) fn run(args: &EtcdStatus, cx: &Context) -> Result<Exit> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(flatten)]
        status: &'a Status,
        /// Always false: shared with `etcd-up`, whose answer has the same shape.
        started: bool,
        /// Null while the instance is not ready.
        health: Option<Health>,
        /// What commands use that are given neither `--instance` nor `--endpoints`.
        commands_use: Used,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Used {
        /// From ETCD_ENDPOINTS.
        Endpoints(Vec<String>),
        Instance(&'static str),
    }

    let instance = cx.instance(&args.which)?;
    let status = instance.status()?;
    let report = health::of(&status);
    match args.answer.format {
        Format::Text => output::answer_text(&text(&status, &report, cx))?,
        Format::Json => {
            let commands_use = cx.cluster_of_environment().map_or(Used::Instance(Which::DEFAULT), Used::Endpoints);
            output::json(&Answer { status: &status, started: false, health: report.health, commands_use })?;
        }
    }
    advice::note_differences(&instance, &args.which, cx);
    Ok(if status.state == State::Stopped { Exit::NOT_RUNNING } else { Exit::SUCCESS })
}

fn text(status: &Status, report: &Report, cx: &Context) -> String {
    let name = &status.instance;
    let version = status.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut text = format!("etcd{version} `{name}` {}\n", advice::state(status));
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {label:<11}{value}\n"));
        }
    };
    if status.state != State::Stopped {
        line("endpoints:", status.endpoints.join(","));
        line("pids:", status.pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        line("binary:", status.binary.as_ref().map(|path| cx.shown(path).to_string()).unwrap_or_default());
    }
    let is_gone = status.state != State::Stopped && matches!(status.data_dir.try_exists(), Ok(false));
    let lost = if is_gone { " (was deleted: the server's keys are lost when it stops)" } else { "" };
    line("data:", format!("{}{lost}", cx.shown(&status.data_dir)));
    line("database:", report.health.as_ref().and_then(health::size).unwrap_or_default());
    line("log:", cx.shown(&status.log).to_string());
    for (label, path) in [("tls:", &status.tls), ("peers:", &status.peer_tls), ("root:", &status.password_file)] {
        line(label, path.as_ref().map(|path| cx.shown(path).to_string()).unwrap_or_default());
    }
    for member in &status.members {
        let pids = member.pids.iter().map(|pid| format!(", pid {pid}")).collect::<String>();
        let learner = if member.learner { "a learner that " } else { "" };
        line(&format!("{}:", member.name), format!("{learner}{}, {}{pids}", member.state, member.endpoint));
    }
    line("cluster:", status.cluster_id.map(|id| id.to_string()).unwrap_or_default());
    line("commands:", advice::used_by_commands(&Which::named(Some(name)), cx));
    if matches!(status.state, State::NoQuorum | State::Hidden | State::Orphaned) {
        line("do:", advice::way_out(status.state, &status.pids, &Which::named(Some(name))));
    }
    for problem in &report.problems {
        line("warning:", problem.to_string());
    }
    text
}
