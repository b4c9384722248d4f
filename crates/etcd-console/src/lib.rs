//! The commands that use etcd's API. `cargo xtask get …` builds the program `etcd-console` and becomes it, with hidden flags that
//! describe the workspace. `browse` is in the program `etcd-browse`, which is this one with the feature `browse`.

mod advice;
#[cfg(feature = "browse")]
mod browse;
mod certificates;
mod changes;
mod cli;
mod compact;
mod confirm;
mod context;
mod del;
mod diff;
mod failure;
mod fence;
mod fill;
mod get;
mod history;
mod interrupt;
mod keep;
mod keys;
mod load;
mod member;
mod member_changes;
mod nearby;
mod orphans;
mod output;
mod page;
mod put;
mod revert;
mod runs;
mod side_by_side;
mod snapshot;
mod test_clean;
mod undo;
mod undo_files;
mod users;
mod watch;
mod wrong_port;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::context::Context;

/// Carries out the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let cx = Context::new(cli.global, &cli.command);
    match run(cli.command, &cx) {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => advice::print_error(error, &cx),
    }
}

fn run(command: Command, cx: &Context) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        match command {
            Command::Get(args) => get::run(args, cx).await,
            Command::Put(args) => put::run(args, cx).await,
            Command::Del(args) => del::run(args, cx).await,
            Command::Undo(args) => undo::run(args, cx).await,
            Command::Watch(args) => watch::run(args, cx).await,
            Command::History(args) => history::run(args, cx).await,
            Command::Diff(args) => diff::run(args, cx).await,
            #[cfg(feature = "browse")]
            Command::Browse(args) => browse::run(args, cx).await,
            Command::Revert(args) => revert::run(args, cx).await,
            Command::Member(args) => member::run(args, cx).await,
            Command::Runs(args) => runs::run(args, cx).await,
            Command::TestClean(args) => test_clean::run(args, cx).await,
            Command::Certificates(args) => certificates::run(&args),
            Command::CertificateDays(args) => certificates::days(&args),
            Command::Compact(args) => compact::run(args, cx).await,
            Command::Users(args) => users::run(&args, cx).await,
            Command::Page(args) => page::run(&args, cx),
            Command::Keep(args) => keep::run(args, cx).await,
            Command::Fill(args) => fill::run(args, cx).await,
            Command::Load(args) => load::run(args, cx).await,
        }
    })
}
