//! The command line of this workspace: `cargo xtask COMMAND`. Here: from arguments to an exit code. What a
//! command does is in the file of its name, and what etcd is to us is in `etcd-local`.

mod advice;
mod bench;
mod child;
mod cli;
mod completions;
mod console;
mod context;
mod doctor;
mod env_vars;
mod etcd_down;
mod etcd_install;
mod etcd_logs;
mod etcd_reset;
mod etcd_status;
mod etcd_up;
mod etcdctl;
mod exit;
mod output;
mod protoc;
mod rebuild;
mod run_id;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use etcd_local::Env;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::exit::Exit;

fn main() -> ExitCode {
    if let Some(code) = protoc::run_as_protoc() {
        return code;
    }
    let cli = Cli::parse();
    let result = Env::from_process().map_err(anyhow::Error::from).and_then(|env| Context::new(env, &cli.global));
    let result = result.and_then(|cx| dispatch(&cli.command, &cx));
    match result {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => Exit::SUCCESS.into(),
        Err(error) => advice::print(&error).into(),
    }
}

fn dispatch(command: &Command, cx: &Context) -> Result<Exit> {
    rebuild::clean_up(cx);
    if !matches!(command, Command::Completions(_)) {
        protoc::provide(cx, command);
    }
    match command {
        Command::EtcdUp(args) => etcd_up::run(args, cx),
        Command::EtcdDown(args) => etcd_down::run(args, cx),
        Command::EtcdReset(args) => etcd_reset::run(args, cx),
        Command::EtcdStatus(args) => etcd_status::run(args, cx),
        Command::EtcdLogs(args) => etcd_logs::run(args, cx),
        Command::EtcdInstall(args) => etcd_install::run(args, cx),
        Command::Etcdctl(args) => etcdctl::run(args, cx),
        Command::Env(args) => env_vars::run(args, cx),
        Command::Doctor(args) => doctor::run(args, cx),
        Command::Test(args) => test::run(args, cx),
        Command::Get(args) => console::run("get", args, cx),
        Command::Put(args) => console::run("put", args, cx),
        Command::Del(args) => console::run("del", args, cx),
        Command::Undo(args) => console::run("undo", args, cx),
        Command::Watch(args) => console::run("watch", args, cx),
        Command::Member(args) => console::run("member", args, cx),
        Command::Bench(args) => bench::run(args, cx),
        Command::Completions(args) => completions::run(args),
    }
}
