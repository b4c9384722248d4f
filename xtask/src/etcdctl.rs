//! `etcdctl`: a real one, pointed at the instance.

use anyhow::{Result, bail};
use etcd_local::State;

use crate::cli::Etcdctl;
use crate::context::Context;
use crate::exit::Exit;
use crate::{child, env_vars};

pub(crate) fn run(args: &Etcdctl, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    let Some(etcdctl) = cx.builder()?.binaries().etcdctl(status.binary.as_deref()) else {
        bail!("no etcdctl is installed: not beside etcd, in $GOPATH/bin, nor on PATH");
    };
    if status.state == State::Stopped && cx.env.var("ETCDCTL_ENDPOINTS").is_none() {
        return Err(env_vars::NotRunning(args.which.instance.clone()).into());
    }
    let vars = env_vars::of_server(&status.endpoints);
    // Endpoints that the caller set are the caller's wish.
    let vars = vars.into_iter().filter(|(name, _)| cx.env.var(name).is_none());
    child::run(duct::cmd(etcdctl, &args.args), vars)
}
