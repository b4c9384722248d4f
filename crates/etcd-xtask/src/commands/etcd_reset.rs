//! `etcd-reset`: deletes the instance's data, and starts it again if it was running.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Result;
use etcd_local::Reset;
use serde::Serialize;

use crate::cli::{EtcdReset, Format, NetworkPolicy, Which};
use crate::commands::etcd_up;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{membership, output, users};

pub(crate) fn run(args: &EtcdReset, cx: &Context) -> Result<Exit> {
    let instance = membership::of_instance(cx.builder()?, &args.which.instance, cx)?.instance(&args.which.instance)?;
    let name = instance.name();
    if let Some(data_dir) = instance.wipes()?
        && !args.yes
        && !confirmed(&args.which, &data_dir, cx)?
    {
        return Ok(Exit::REFUSED);
    }
    let Reset { wiped, up } = instance.reset()?;
    let up = up.map(|up| users::switched_on(up, &instance, false, NetworkPolicy::Online, cx)).transpose()?;
    match (args.answer.format, &up) {
        (Format::Json, None) => {
            output::json(&Stopped { instance: name, state: "stopped", started: false, wiped: &wiped })?
        }
        (Format::Text, _) => cx.output.report(&match &wiped {
            Some(dir) => format!("wiped {}\n", cx.shown(dir)),
            None => format!("etcd `{name}` has no data\n"),
        })?,
        _ => {}
    }
    if let Some(up) = &up {
        etcd_up::answer(up, Some(wiped.as_deref()), args.answer.format, cx)?;
    }
    Ok(Exit::SUCCESS)
}

#[derive(Serialize)]
struct Stopped<'a> {
    instance: &'a str,
    state: &'static str,
    started: bool,
    wiped: &'a Option<std::path::PathBuf>,
}

fn confirmed(which: &Which, data_dir: &Path, cx: &Context) -> Result<bool> {
    let what = format!("all data of etcd `{}` in {}", which.instance, cx.shown(data_dir));
    confirm("delete", &what, &which.command("etcd-reset --yes"), cx)
}

/// Asks on a terminal. Without a terminal the answer is no: the command that does not ask is named.
pub(crate) fn confirm(verb: &str, what: &str, command: &str, cx: &Context) -> Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let what = format!("refused to {verb} {what}: stdin is not a terminal, so it cannot ask");
        return Err(Failure::with_exit(Exit::REFUSED, what, format!("{command} does it without asking")));
    }
    let (first, rest) = verb.split_at_checked(1).unwrap_or_default();
    output::say_part(format_args!("{}{rest} {what}? [y/N] ", first.to_uppercase()));
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let yes = matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !yes {
        cx.output.note("nothing was changed");
    }
    Ok(yes)
}
