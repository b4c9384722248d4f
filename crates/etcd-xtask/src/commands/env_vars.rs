//! `env`: prints the environment variables with which programs find a server. Defines them for `test`, too.

use anyhow::Result;
use etcd_local::{State, Status};
use etcd_workspace::{ClientConfig, Leads};

use crate::cli::{Dialect, EnvVars, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{advice, output};

/// Whether it is known where a server is that clients may use. Without it, a
/// client takes 127.0.0.1:2379, which may be another user's.
pub(crate) fn has_place(status: &Status) -> bool {
    !matches!(status.state, State::Stopped | State::Orphaned) && !status.endpoints.is_empty()
}

pub(crate) fn run(args: &EnvVars, cx: &Context) -> Result<Exit> {
    let config = match cx.client_config(&args.client, true)? {
        (Leads::Instance, config) => config.or(of_instance(args.instance.as_deref(), cx)?),
        (_, config) => config,
    };
    let vars = config.variables();
    if args.answer.format == Format::Json {
        output::json(&vars.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
        return Ok(Exit::SUCCESS);
    }
    let dialect = args.shell.unwrap_or(if cfg!(windows) { Dialect::Powershell } else { Dialect::Sh });
    let lines: Option<String> = vars.iter().map(|(name, value)| line(dialect, name, value)).collect();
    let next = "`--format json` prints the variables as JSON";
    output::answer_text(&lines.ok_or_else(|| Failure::of("cmd cannot set these endpoints", next))?)?;
    Ok(Exit::SUCCESS)
}

/// How an instance is reached.
fn of_instance(instance: Option<&str>, cx: &Context) -> Result<ClientConfig> {
    let which = Which::named(instance);
    let status = cx.instance(&which)?.status()?;
    if !has_place(&status) {
        return Err(advice::unusable(&status, &which, ""));
    }
    if status.state == State::Hidden {
        cx.output.note(format_args!("note: etcd `{}` {}", status.instance, advice::state(&status)));
    }
    Ok(status.client_config()?)
}

/// Sets a variable. Whatever the value is, evaluated it is that value and nothing else; `None`: the shell cannot write it.
fn line(dialect: Dialect, name: &str, value: &str) -> Option<String> {
    Some(match dialect {
        Dialect::Sh => format!("export {name}='{}'\n", value.replace('\'', r"'\''")),
        Dialect::Fish => format!("set -gx {name} '{}'\n", value.replace('\\', r"\\").replace('\'', r"\'")),
        Dialect::Powershell => {
            // Typographic quotes end a string there, too.
            let is_quote = |c: char| matches!(c, '\'' | '‘' | '’' | '‚' | '‛');
            let value: String =
                value.chars().flat_map(|c| std::iter::repeat_n(c, 1 + usize::from(is_quote(c)))).collect();
            format!("$env:{name} = '{value}'\n")
        }
        // It has no way to quote these.
        Dialect::Cmd if value.contains(['"', '%', '!', '\r', '\n']) => return None,
        Dialect::Cmd => format!("set \"{name}={value}\"\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [&str; 5] =
        ["http://127.0.0.1:1,http://[::1]:2", "a'b", r"a\'; touch x #", "$(touch x) `touch x`", "‘a’ %b%"];

    #[test]
    #[cfg(unix)]
    fn a_shell_takes_any_value_as_it_is() {
        for value in ODD {
            let script = line(Dialect::Sh, "V", value).unwrap();
            let mut sh = std::process::Command::new("/bin/sh");
            let output = sh.args(["-c", "eval \"$1\"; printf %s \"$V\"", "sh", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }

    #[test]
    fn quotes_are_written_as_each_shell_has_it() {
        let lines = |value| [Dialect::Fish, Dialect::Powershell, Dialect::Cmd].map(|dialect| line(dialect, "V", value));
        let written = |lines: [&str; 2]| lines.map(|line| Some(line.to_owned()));
        let [fish, powershell, cmd] = lines(r"a\'b’");
        assert_eq!([fish, powershell], written(["set -gx V 'a\\\\\\'b’'\n", "$env:V = 'a\\''b’’'\n"]));
        assert_eq!(cmd.as_deref(), Some("set \"V=a\\'b’\"\n"));
        for value in ["a\"b", "%PATH%", "a\nb"] {
            assert_eq!(line(Dialect::Cmd, "V", value), None, "{value}");
        }
    }
}
