//! The proof of what the README promises: `bench` measures it, `torture` tries to break it. `cargo xtask` builds this
//! program at the first call of either, and becomes it. It uses the product from outside, by its commands. No crate depends
//! on it.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "some functions are for torture, which runs on Linux only")
)]

mod bench;
mod cli;
mod guard;
mod processes;
#[cfg(target_os = "linux")]
mod torture;
mod wait;
mod workspace;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli: Cli = etcd_xtask::parse();
    etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
        Command::Bench(args) => bench::run(args, &cli, cx),
        Command::Probe(args) => bench::probe(args),
        Command::Guard(args) => guard::run(&args.dir),
        #[cfg(target_os = "linux")]
        Command::Torture(args) => torture::run(args, &cli.xtask, &cli.console, cx),
        #[cfg(target_os = "linux")]
        Command::Writer(args) => torture::writer(args),
        #[cfg(not(target_os = "linux"))]
        Command::Torture(_) | Command::Writer(_) => Err(etcd_xtask::Failure::of(
            "`torture` runs on Linux only: `/proc` shows it what is left behind",
            "the tests run here, too: `cargo xtask test`",
        )),
    })
}
