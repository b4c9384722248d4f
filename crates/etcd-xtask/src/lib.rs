//! The commands of `cargo xtask` for any workspace that uses etcd: `etcd-up`, `etcd-down`, `test`, `test-clean`,
//! `watch` and more, from arguments to an exit code. It compiles quickly: it has no tokio and no gRPC. The commands
//! that use etcd's API are in another program, which it builds on demand.
//!
//! A workspace's whole `xtask/src/main.rs`:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     etcd_xtask::main()
//! }
//! ```
//!
//! or, with commands of its own beside these:
//!
//! ```no_run
//! use etcd_xtask::{Cli, Exit};
//!
//! #[derive(clap::Subcommand)]
//! enum Command {
//!     #[command(flatten)]
//!     Etcd(etcd_xtask::Command),
//!     /// Say hello
//!     Hello,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let cli = etcd_xtask::parse::<Cli<Command>>();
//!     etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
//!         Command::Etcd(command) => command.run::<Cli<Command>>(cx),
//!         Command::Hello => {
//!             println!("hello from {}", cx.workspace.display());
//!             Ok(Exit::SUCCESS)
//!         }
//!     })
//! }
//! ```
//!
//! The alias in `.cargo/config.toml`, for `cargo xtask`:
//! `xtask = "--config env.XTASK_ALIAS='1' --config term.quiet=false run --package xtask --"`.

mod advice;
mod build;
mod cargos_words;
mod certificates;
pub mod child;
mod cli;
mod commands;
mod console;
mod context;
mod exit;
mod failure;
mod forwarded;
mod health;
mod membership;
pub mod output;
mod readable_log;
mod runs;
mod tips;
mod users;
mod versions;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use etcd_local::Env;

use crate::build::{protoc, rebuild};
use crate::commands::{
    completions, doctor, env_vars, etcd_compact, etcd_down, etcd_install, etcd_list, etcd_logs, etcd_member,
    etcd_reset, etcd_restart, etcd_status, etcd_up, etcdctl,
};
use crate::runs::{open_report, run, test};

pub use crate::build::on_demand;
pub use crate::cli::{Answer, Cli, Command, Format, Global};
pub use crate::context::Context;
pub use crate::exit::Exit;
pub use crate::failure::Failure;
pub use crate::forwarded::Forwarded;

/// A command line with only these commands.
#[must_use]
pub fn main() -> ExitCode {
    let cli = parse::<Cli>();
    in_workspace(&cli.global, |cx| cli.command.run::<Cli>(cx))
}

/// The command line's arguments; ends the process if they are wrong, or ask for help.
///
/// Under the name `protoc`, this program acts as a protoc: see docs/tests.md on builds without a protoc.
#[must_use]
pub fn parse<C: Parser>() -> C {
    protoc::stand_in();
    // A shell asks in the middle of the user's line, where lines must not be removed.
    completions::answer(C::command);
    cargos_words::take_away();
    let mut known = C::command();
    let args = test::own_first(std::env::args_os().collect(), &mut known);
    C::try_parse_from(args).unwrap_or_else(|error| tips::with_tip(error, &known).exit())
}

/// Runs a command in the workspace of this program. Prints an error with its hint.
pub fn in_workspace(global: &Global, run: impl FnOnce(&Context) -> Result<Exit>) -> ExitCode {
    let context = Env::from_process().map_err(anyhow::Error::from).and_then(|env| Context::new(env, global));
    match context.and_then(|cx| run(&cx)) {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => Exit::SUCCESS.into(),
        Err(error) => advice::print(&error).into(),
    }
}

impl Command {
    /// Runs the command. `C` is the whole command line that it is part of, for completions.
    ///
    /// # Errors
    /// What [`in_workspace`] prints.
    pub fn run<C: CommandFactory>(&self, cx: &Context) -> Result<Exit> {
        rebuild::clean_up();
        self.dispatch(cx).map_err(|error| advice::about(self.which(), error))
    }

    fn dispatch(&self, cx: &Context) -> Result<Exit> {
        match self {
            Self::EtcdUp(args) => etcd_up::run(args, cx),
            Self::EtcdDown(args) => etcd_down::run(args, cx),
            Self::EtcdRestart(args) => etcd_restart::run(args, cx),
            Self::EtcdReset(args) => etcd_reset::run(args, cx),
            Self::EtcdMember(args) => etcd_member::run(args, cx),
            Self::EtcdStatus(args) => etcd_status::run(args, cx),
            Self::EtcdList(args) => etcd_list::run(args, cx),
            Self::EtcdLogs(args) => etcd_logs::run(args, cx),
            Self::EtcdCompact(args) => etcd_compact::run(args, cx),
            Self::EtcdInstall(args) => etcd_install::run(args, cx),
            Self::Etcdctl(args) => etcdctl::run(args, cx),
            Self::Env(args) => env_vars::run(args, cx),
            Self::Doctor(args) => doctor::run(args, cx),
            Self::Test(args) => test::run(args, cx),
            Self::Run(args) => run::run(args, cx),
            Self::Report(args) => open_report::run(args, cx),
            Self::Runs(args) => console::run("runs", &args.args, cx),
            Self::TestClean(args) => console::run("test-clean", &args.args, cx),
            Self::Get(args) => console::run("get", &args.args, cx),
            Self::Put(args) => console::run("put", &args.args, cx),
            Self::Del(args) => console::run("del", &args.args, cx),
            Self::Undo(args) => console::run("undo", &args.args, cx),
            Self::Watch(args) => console::run("watch", &args.args, cx),
            Self::History(args) => console::run("history", &args.args, cx),
            Self::Diff(args) => console::run("diff", &args.args, cx),
            Self::Revert(args) => console::run("revert", &args.args, cx),
            Self::Browse(args) => console::run("browse", &args.args, cx),
            Self::Member(args) => console::run("member", &args.args, cx),
            Self::Completions(args) => completions::run(args),
        }
    }
}
