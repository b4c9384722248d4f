//! The variables that lead a program to a server, and `env`, which prints them. Defines them for `test`, too.

use anyhow::Result;
use etcd_local::{State, Status};

use crate::cli::{Dialect, EnvVars, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::{advice, output};

/// What a client, ours or etcdctl or any other, needs to find a server.
pub(crate) fn of_server(endpoints: &[String]) -> Vec<(&'static str, String)> {
    let urls = endpoints.join(",");
    vec![("ETCD_ENDPOINTS", urls.clone()), ("ETCDCTL_API", "3".to_owned()), ("ETCDCTL_ENDPOINTS", urls)]
}

/// Whether it is known where a server is that clients may use. One that is told nothing would take 127.0.0.1:2379, whose
/// ever that is.
pub(crate) fn has_place(status: &Status) -> bool {
    !matches!(status.state, State::Stopped | State::Orphaned) && !status.endpoints.is_empty()
}

pub(crate) fn run(args: &EnvVars, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    if !has_place(&status) {
        return Err(advice::unusable(&status, &args.which, ""));
    }
    if status.state == State::Hidden {
        cx.output.note(format_args!("note: etcd `{}` {}", status.instance, advice::state(&status)));
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
