//! The proof of what the README promises: `bench` measures it, `torture` tries to break it. `cargo xtask` builds this
//! program when it is first asked for, and becomes it. It tries the product from outside, by its commands; nothing
//! depends on it.

#![cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "what torture alone uses is used on Linux alone"))]

mod bench;
mod cli;
mod guard;
mod processes;
#[cfg(target_os = "linux")]
mod torture;
mod wait;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli: Cli = etcd_xtask::parse();
    etcd_xtask::in_workspace(&cli.global, |cx| match &cli.command {
        Command::Bench(args) => bench::run(args, &cli, cx),
        Command::Probe(args) => bench::probe(args),
        Command::Guard(args) => guard::guard(&args.dir),
        #[cfg(target_os = "linux")]
        Command::Torture(args) => torture::run(args, &cli.xtask, cli.console.as_deref(), cx),
        #[cfg(target_os = "linux")]
        Command::Writer(args) => torture::writer(args),
        #[cfg(not(target_os = "linux"))]
        Command::Torture(_) | Command::Writer(_) => Err(etcd_xtask::Failure::of(
            "`torture` runs on Linux only: `/proc` shows it what is left behind",
            "the tests run here, too: `cargo xtask test`",
        )),
    })
}
