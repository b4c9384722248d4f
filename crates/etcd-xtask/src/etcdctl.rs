//! `etcdctl`: a real one, pointed at the instance.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use etcd_local::State;

use crate::advice::Failure;
use crate::cli::{Etcdctl, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::{child, env_vars};

pub(crate) fn run(args: &Etcdctl, cx: &Context) -> Result<Exit> {
    let which = Which::named(args.instance.as_deref());
    let status = cx.instance(&which)?.status()?;
    let Some(etcdctl) = cx.builder()?.binaries().etcdctl(status.binary.as_deref()) else {
        return Err(Failure::of(
            "no etcdctl is installed: not beside etcd, in $GOPATH/bin, nor on PATH",
            "`cargo xtask etcd-install --from release` brings one where its archive is pinned; so do your system's packages",
        ));
    };
    let mut command = Command::new(etcdctl);
    command.args(&args.args);
    if names_endpoints(&args.args) {
        // A flag beats the environment; etcdctl takes no both.
        command.env_remove("ETCDCTL_ENDPOINTS").env("ETCDCTL_API", "3");
        return child::become_program(&mut command);
    }
    // Endpoints that the caller set are the caller's wish, unless a flag, which beats the environment, names an instance.
    let is_set = |name: &str| args.instance.is_none() && cx.env.var(name).is_some();
    let is_stopped = status.state == State::Stopped;
    if is_stopped && !is_set("ETCDCTL_ENDPOINTS") && !is_about_itself(&args.args) {
        return Err(env_vars::not_running(&which));
    }
    let vars = env_vars::of_server(if is_stopped { &[] } else { &status.endpoints });
    let vars = vars.into_iter().filter(|(name, value)| !is_set(name) && !value.is_empty());
    child::become_program(command.envs(vars))
}

/// Whether the caller says which cluster is meant.
fn names_endpoints(args: &[OsString]) -> bool {
    let flags = args.iter().map(|arg| arg.as_encoded_bytes()).take_while(|arg| arg != b"--");
    flags.into_iter().any(|arg| arg == b"--endpoints" || arg.starts_with(b"--endpoints="))
}

/// Whether etcdctl answers without a server.
fn is_about_itself(args: &[OsString]) -> bool {
    let Some(first) = args.first() else { return true };
    ["version", "help", "completion", "-h", "--help"].iter().any(|word| first == word)
}
