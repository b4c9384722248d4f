//! The command line of this workspace: `cargo xtask COMMAND`. The commands are `etcd-xtask`'s, as in any workspace
//! that mounts them. Its own commands are the proof of what its README promises, what CI runs, and `init`, which adds the
//! commands to another workspace.

mod ci;
mod cli;
mod init;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum as _;
use etcd_xtask::{Context, Exit, child, on_demand};
use xtask::BenchName;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli: Cli = etcd_xtask::parse();
    etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
        Command::Etcd(command) => command.run::<Cli>(cx),
        Command::Bench(args) => proof("bench", &args.args, cx),
        Command::Torture(args) => proof("torture", &args.args, cx),
        Command::Ci => ci::run(cx),
        Command::Init(args) => init::run(args, cx),
    })
}

/// Becomes `etcd-proof`, which is built when it is first asked for, as are the programs that it calls.
fn proof(name: &str, args: &[OsString], cx: &Context) -> Result<Exit> {
    let mut command = cx.command(on_demand::program("etcd-proof", cx)?);
    command.arg("--console").arg(on_demand::program("etcd-console", cx)?);
    if name == "bench" && measures_browse(args) {
        command.arg("--browse").arg(on_demand::program("etcd-browse", cx)?);
    }
    child::become_program(command.arg("--xtask").arg(std::env::current_exe()?).arg(name).args(args))
}

/// Whether `bench` measures `browse`, whose program takes long to build: where it is named, or nothing is.
fn measures_browse(args: &[OsString]) -> bool {
    let is_named = |name: &BenchName| {
        let name = name.to_possible_value();
        args.iter().any(|arg| name.as_ref().is_some_and(|name| arg == name.get_name()))
    };
    is_named(&BenchName::Browse) || !BenchName::value_variants().iter().any(is_named)
}
