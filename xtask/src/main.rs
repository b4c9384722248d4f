//! The command line of this workspace: `cargo xtask COMMAND`. The commands are `etcd-xtask`'s, as in any workspace
//! that mounts them; `bench`, which measures what the README promises, is this one's own.

mod bench;
mod cli;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli: Cli = etcd_xtask::parse();
    etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
        Command::Etcd(command) => command.run::<Cli>(cx),
        Command::Bench(args) => bench::run(args, cx),
    })
}
