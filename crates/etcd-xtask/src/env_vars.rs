//! The variables that lead a program to a server, and `env`, which prints them. Defines them for `test`, too.

use anyhow::Result;
use etcd_local::State;

use crate::advice::Failure;
use crate::cli::{Dialect, EnvVars, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::output;

/// What a client, ours or etcdctl or any other, needs to find a server.
pub(crate) fn of_server(endpoints: &[String]) -> Vec<(&'static str, String)> {
    let urls = endpoints.join(",");
    vec![("ETCD_ENDPOINTS", urls.clone()), ("ETCDCTL_API", "3".to_owned()), ("ETCDCTL_ENDPOINTS", urls)]
}

/// There is no server, and the command needs one.
pub(crate) fn not_running(which: &Which) -> anyhow::Error {
    let what = format!("etcd `{}` is not running", which.instance);
    Failure::with_exit(Exit::NOT_RUNNING, what, format!("{} starts it", which.command("etcd-up")))
}

/// A server lives, and nothing says where: a client that is told nothing would take 127.0.0.1:2379, whose ever that is.
pub(crate) fn unknown_endpoints(which: &Which) -> anyhow::Error {
    let what = format!("etcd `{}` runs, but nothing says at which endpoint: its record is missing", which.instance);
    Failure::of(what, format!("{} writes the record anew", which.command("etcd-up")))
}

pub(crate) fn run(args: &EnvVars, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    if status.state == State::Stopped {
        return Err(not_running(&args.which));
    }
    if status.endpoints.is_empty() {
        return Err(unknown_endpoints(&args.which));
    }
    let vars = of_server(&status.endpoints);
    if args.answer.format == Format::Json {
        output::json(&vars.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
        return Ok(Exit::SUCCESS);
    }
    let dialect = args.shell.unwrap_or(if cfg!(windows) { Dialect::Powershell } else { Dialect::Sh });
    let lines: String = vars.iter().map(|(name, value)| line(dialect, name, value)).collect();
    output::answer_text(&lines)?;
    Ok(Exit::SUCCESS)
}

/// Values are URLs and numbers: none has a quote in it.
fn line(dialect: Dialect, name: &str, value: &str) -> String {
    match dialect {
        Dialect::Sh => format!("export {name}='{value}'\n"),
        Dialect::Fish => format!("set -gx {name} '{value}'\n"),
        Dialect::Powershell => format!("$env:{name} = '{value}'\n"),
        Dialect::Cmd => format!("set \"{name}={value}\"\n"),
    }
}
