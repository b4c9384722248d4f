//! Commands that another program runs. Their arguments are declared here, too, so that help, completions and checks work before
//! that program is built. The arguments are then passed on.

use std::ffi::OsString;
use std::marker::PhantomData;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

/// The given arguments, which `A` declares, for another program with the same declaration.
#[derive(Debug)]
pub struct Forwarded<A> {
    /// Options first; a `--` comes before arguments that are not options.
    pub args: Vec<OsString>,
    declared: PhantomData<fn() -> A>,
}

impl<A: Args> Args for Forwarded<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}

impl<A: Args> FromArgMatches for Forwarded<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self { args: given(&A::augment_args(Command::new("")), matches), declared: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The value of a flag among forwarded arguments.
pub(crate) fn flag<'a>(args: &'a [OsString], name: &str) -> Option<&'a str> {
    let mut flags = args.iter().take_while(|arg| *arg != "--").filter_map(|arg| arg.to_str());
    flags.find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
}

fn given(declared: &Command, matches: &ArgMatches) -> Vec<OsString> {
    let is_given = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let values = |arg: &Arg| matches.get_raw(arg.get_id().as_str()).into_iter().flatten().map(OsString::from);
    let mut args = Vec::new();
    for option in declared.get_opts().filter(is_given) {
        let flag = format!("--{}", option.get_long().unwrap_or_default());
        if option.get_action().takes_values() {
            args.extend(values(option).map(|value| [OsString::from(&flag), "=".into(), value].into_iter().collect()));
        } else {
            args.push(flag.into());
        }
    }
    if let Some((name, matches)) = matches.subcommand()
        && let Some(declared) = declared.find_subcommand(name)
    {
        args.push(name.into());
        args.extend(given(declared, matches));
    }
    let positionals: Vec<OsString> = declared.get_positionals().filter(is_given).flat_map(values).collect();
    if !positionals.is_empty() {
        args.push("--".into());
        args.extend(positionals);
    }
    args
}
