//! `completions`: a script for the user's shell, and the answers to that script: commands, options and their values, names of
//! instances, and keys if an etcd is running. Answers come quickly or not at all, and build nothing.

use std::ffi::OsStr;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};
use etcd_local::Env;

use crate::build::on_demand;
use crate::cli::{Completions, Global};
use crate::context::Context;
use crate::exit::Exit;
use crate::{child, console, output};

/// The variable with the shell that asks.
const VARIABLE: &str = "XTASK_COMPLETE";
/// How many keys are read.
const KEYS: &str = "100";
/// The longest time to wait for keys after Tab.
const TIMEOUT: Duration = Duration::from_millis(1500);

pub(crate) fn run(args: &Completions) -> Result<Exit> {
    /// Stands for how this program is called, which would be quoted as one word.
    const US: &str = "called_as_cargo_xtask";
    let name = args.shell.to_possible_value().map(|shell| shell.get_name().to_owned()).unwrap_or_default();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).with_context(|| format!("there are no completions for {name}"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "xtask", "xtask", US, &mut script)?;
    let script = String::from_utf8_lossy(&script).replace(&format!("\"{US}\""), US).replace(US, "cargo --quiet xtask");
    output::answer_text(&script)?;
    Ok(Exit::SUCCESS)
}

/// If a shell asks for completions, answers, and does not return.
pub(crate) fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(move || with_values(command())).var(VARIABLE).complete();
}

/// The same command line, with completions of values that only this workspace knows.
fn with_values(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, of_command))
}

fn of_command(mut command: clap::Command) -> clap::Command {
    let speaks_of_keys = ["get", "put", "del", "watch"].contains(&command.get_name());
    let ids: Vec<clap::Id> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    for id in ids {
        command = match id.as_str() {
            "instance" => command.mut_arg(id, |arg| arg.add(ArgValueCompleter::new(instances))),
            "key" | "range_end" if speaks_of_keys => command.mut_arg(id, |arg| arg.add(ArgValueCompleter::new(keys))),
            _ => command,
        };
    }
    command
}

/// What a completion may look at.
fn context() -> Option<Context> {
    Context::new(Env::from_process().ok()?, &Global { quiet: true }).ok()
}

fn instances(current: &OsStr) -> Vec<CompletionCandidate> {
    let builder = context().and_then(|cx| cx.builder().ok());
    let instances = builder.and_then(|builder| builder.instances().ok()).unwrap_or_default();
    let names = instances.iter().map(|instance| instance.name().to_owned());
    names.filter(|name| current.to_str().is_some_and(|current| name.starts_with(current))).map(Into::into).collect()
}

/// Keys as far as the next slash, as paths are completed.
fn keys(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let mut found: Vec<String> = keys_below(current).unwrap_or_default();
    for key in &mut found {
        let rest = key.get(current.len()..).unwrap_or_default();
        if let Some(slash) = rest.find('/') {
            key.truncate(current.len() + slash + 1);
        }
    }
    found.dedup();
    found.into_iter().map(Into::into).collect()
}

/// Keys of the instance `default` or of the cluster in ETCD_ENDPOINTS, if `etcd-console` is built.
fn keys_below(current: &str) -> Option<Vec<String>> {
    let cx = context()?;
    let root = cx.builder().ok()?.settings().root.clone();
    let prefix = root.filter(|root| root.starts_with(current)).unwrap_or_else(|| current.to_owned());
    let mut command = cx.command(on_demand::if_built(console::PACKAGE, &cx)?);
    command.args(console::settings(&cx).ok()?);
    command.args(["get", &prefix, "--prefix", "--keys-only", "--limit", KEYS, "--timeout", "1"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let ended = child::ended_within(TIMEOUT, &mut child);
    drop(child.kill().and_then(|()| child.wait()));
    ended.filter(std::process::ExitStatus::success)?;
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    Some(text.lines().filter(|key| key.starts_with(current)).map(str::to_owned).collect())
}
