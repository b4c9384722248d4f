//! `etcdctl`: a real one, pointed at the instance.

use std::process::Command;

use anyhow::Result;
use etcd_local::State;

use crate::advice::Failure;
use crate::cli::Etcdctl;
use crate::context::Context;
use crate::exit::Exit;
use crate::{child, env_vars};

pub(crate) fn run(args: &Etcdctl, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    let Some(etcdctl) = cx.builder()?.binaries().etcdctl(status.binary.as_deref()) else {
        return Err(Failure::of(
            "no etcdctl is installed: not beside etcd, in $GOPATH/bin, nor on PATH",
            "`cargo xtask etcd-install --from release` brings one where its archive is pinned; so do your system's packages",
        ));
    };
    if status.state == State::Stopped && cx.env.var("ETCDCTL_ENDPOINTS").is_none() {
        return Err(env_vars::not_running(&status.instance));
    }
    let vars = env_vars::of_server(&status.endpoints);
    // Endpoints that the caller set are the caller's wish.
    let vars = vars.into_iter().filter(|(name, _)| cx.env.var(name).is_none());
    child::become_program(Command::new(etcdctl).args(&args.args).envs(vars))
}
