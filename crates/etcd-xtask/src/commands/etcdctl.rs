//! `etcdctl`: runs a real etcdctl on the instance.

use std::ffi::OsString;

use anyhow::Result;
use etcd_console_cli::Client;
use etcd_local::binary::{Binaries, Known, Source, Tool};

use etcd_workspace::ClientConfig;

use crate::cli::{Etcdctl, Which};
use crate::commands::env_vars;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{advice, child};

pub(crate) fn run(args: &Etcdctl, cx: &Context) -> Result<Exit> {
    let which = Which::named(args.instance.as_deref());
    let status = cx.instance(&which)?.status()?;
    let binaries = cx.builder()?.binaries();
    let Some(etcdctl) = binaries.etcdctl(status.binary.as_deref()) else {
        let what = "no etcdctl is installed: not beside etcd, in $GOPATH/bin, nor on PATH";
        return Err(Failure::of(what, how_to_have_one(&binaries)));
    };
    let mut command = cx.command(etcdctl);
    command.args(&args.args);
    if args.cluster.is_some() {
        let flags = Client { cluster: args.cluster.clone(), ..Client::default() };
        return child::become_program(command.envs(cx.client_config(&flags, false)?.1.variables()));
    }
    if names_endpoints(&args.args) {
        // A flag beats the environment; etcdctl takes no both.
        command.env_remove("ETCDCTL_ENDPOINTS").env("ETCDCTL_API", "3");
        return child::become_program(&mut command);
    }
    // Endpoints that the caller set are the caller's wish, unless a flag, which beats the environment, names an instance.
    let is_set = |name: &str| args.instance.is_none() && cx.env.var(name).is_some();
    let has_place = env_vars::has_place(&status);
    if !has_place && !is_set("ETCDCTL_ENDPOINTS") && !is_about_itself(&args.args) {
        return Err(advice::unusable(&status, &which, ""));
    }
    let config = if has_place { status.client_config()? } else { ClientConfig::default() };
    let vars = config.variables();
    let vars = vars.into_iter().filter(|(name, value)| !is_set(name) && !value.is_empty());
    child::become_program(command.envs(vars))
}

/// Release archives contain etcdctl; the registry's crates do not. An installed version from a crate is not replaced.
fn how_to_have_one(binaries: &Binaries) -> String {
    let installed = binaries.installed().unwrap_or_default();
    let is_new = |one: &Known| installed.iter().all(|here| here.version != one.version);
    let releases = binaries.known().into_iter().filter(|one| one.tool == Tool::Etcd && one.source == Source::Release);
    match releases.filter(is_new).map(|one| one.version).max() {
        Some(version) => {
            format!("`cargo xtask etcd-install {version} --from release` installs one; any etcdctl on PATH works, too")
        }
        None => "install etcdctl from your system's packages: any version on PATH works".to_owned(),
    }
}

/// Whether the arguments select a cluster.
fn names_endpoints(args: &[OsString]) -> bool {
    let flags = args.iter().map(|arg| arg.as_encoded_bytes()).take_while(|arg| arg != b"--");
    flags.into_iter().any(|arg| arg == b"--endpoints" || arg.starts_with(b"--endpoints="))
}

/// Whether etcdctl needs no server for these arguments.
fn is_about_itself(args: &[OsString]) -> bool {
    let Some(first) = args.first() else { return true };
    ["version", "help", "completion", "-h", "--help"].iter().any(|word| first == word)
}
