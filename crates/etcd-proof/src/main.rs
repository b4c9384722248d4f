//! The proof of what the README promises: `bench` measures it. `cargo xtask` builds this program when it is first asked
//! for, and becomes it. It tries the product from outside, by its commands; nothing depends on it.

mod bench;
mod cli;

use std::process::ExitCode;

use etcd_xtask::Exit;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli: Cli = etcd_xtask::parse();
    etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
        Command::Bench(args) => bench::run(args, &cli, cx),
        Command::Probe(args) => bench::probe(args),
        Command::Guard(args) => bench::guard(&args.dir).map(|()| Exit::SUCCESS),
    })
}
