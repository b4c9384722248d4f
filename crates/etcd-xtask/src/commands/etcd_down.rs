//! `etcd-down`: stops an instance or all instances. Their data stays.

use std::path::PathBuf;

use anyhow::Result;
use etcd_local::{Down, Instance};
use serde::Serialize;

use crate::cli::{EtcdDown, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::{advice, output};

#[derive(Serialize)]
struct Answer {
    instance: String,
    state: &'static str,
    stopped: bool,
    pids: Vec<u32>,
    data_dir: PathBuf,
}

pub(crate) fn run(args: &EtcdDown, cx: &Context) -> Result<Exit> {
    if args.all {
        return all(args.answer.format, cx);
    }
    let answer = stop(&cx.instance(&args.which)?)?;
    match args.answer.format {
        Format::Json => output::json(&answer)?,
        Format::Text => cx.output.report(&text(&answer, cx))?,
    }
    Ok(Exit::SUCCESS)
}

/// Stops all instances, one after the other, and continues after a failure. Returns the highest exit code.
fn all(format: Format, cx: &Context) -> Result<Exit> {
    #[derive(Serialize)]
    struct Answers {
        /// Those that do not run now.
        instances: Vec<Answer>,
        failed: Vec<String>,
    }

    let mut answers = Answers { instances: Vec::new(), failed: Vec::new() };
    let mut exit = Exit::SUCCESS;
    for instance in cx.builder()?.instances()? {
        match stop(&instance) {
            Ok(answer) => {
                if format == Format::Text {
                    cx.output.report(&text(&answer, cx))?;
                }
                answers.instances.push(answer);
            }
            Err(error) => {
                let failed = advice::print(&advice::about(Which::named(Some(instance.name())), error));
                exit = if failed.code() > exit.code() { failed } else { exit };
                answers.failed.push(instance.name().to_owned());
            }
        }
    }
    match format {
        Format::Json => output::json(&answers)?,
        Format::Text if answers.instances.is_empty() && answers.failed.is_empty() => {
            cx.output.report("this workspace has no instances\n")?;
        }
        Format::Text => {}
    }
    Ok(exit)
}

fn stop(instance: &Instance) -> Result<Answer> {
    let Down { stopped, data_dir } = instance.down()?;
    let name = instance.name().to_owned();
    Ok(Answer { instance: name, state: "stopped", stopped: !stopped.is_empty(), pids: stopped, data_dir })
}

fn text(answer: &Answer, cx: &Context) -> String {
    let Answer { instance, stopped, data_dir, .. } = answer;
    if !stopped {
        return format!("etcd `{instance}` was not running\n");
    }
    let is_gone = matches!(data_dir.try_exists(), Ok(false));
    let stays = if is_gone { "its data was deleted before, in" } else { "its data stays in" };
    format!("stopped etcd `{instance}`; {stays} {}\n", cx.shown(data_dir))
}
