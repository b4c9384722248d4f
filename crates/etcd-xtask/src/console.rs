//! Runs `etcd-console`, a separate program for the commands that use etcd's API, because it needs gRPC.

use std::ffi::OsString;

use anyhow::Result;

use crate::build::{on_demand, rebuild};
use crate::child;
use crate::cli::Which;
use crate::context::Context;
use crate::exit::Exit;
use crate::forwarded::flag;

/// The program's package.
pub(crate) const PACKAGE: &str = "etcd-console";
/// The same program with `browse`, whose screen takes long to build.
const BROWSE: &str = "etcd-browse";

/// Runs `etcd-console NAME ARGS…`.
pub(crate) fn run(name: &str, args: &[OsString], cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    find_instance(args, cx)?;
    if ["del", "revert"].contains(&name) || args.iter().any(|arg| arg == "--write") {
        // The directory for undo files.
        cx.create_home()?;
    }
    let package = if name == "browse" { BROWSE } else { PACKAGE };
    let mut command = cx.command(on_demand::program(package, cx)?);
    command.args(settings(cx)?).arg(name);
    for arg in args {
        // The list of processes is not to show it any longer than it does already.
        match arg.to_str().and_then(|arg| arg.strip_prefix("--password=")) {
            Some(password) => command.env("ETCDCTL_PASSWORD", password),
            None => command.arg(arg),
        };
    }
    child::become_program(&mut command)
}

/// Makes sure that the program finds its instance: it reads only the record.
fn find_instance(args: &[OsString], cx: &Context) -> Result<()> {
    let name = flag(args, "--instance");
    let is_elsewhere = flag(args, "--endpoints").or(flag(args, "--cluster")).is_some();
    if is_elsewhere || (name.is_none() && cx.cluster_of_environment().is_some()) {
        return Ok(());
    }
    Ok(cx.instance(&Which::named(name))?.lead_others()?)
}

/// The hidden flags that describe the workspace.
pub(crate) fn settings(cx: &Context) -> Result<Vec<OsString>> {
    let builder = cx.builder()?;
    let settings = builder.settings();
    let mut flags: Vec<OsString> = vec!["--home".into(), cx.home().into(), "--manifest".into(), cx.manifest().into()];
    let mut add = |name: &str, value: &str| flags.extend([name.into(), value.into()]);
    settings.root.iter().for_each(|root| add("--root", root));
    add("--test-root", &settings.test_root);
    settings.protected.iter().for_each(|prefix| add("--protected", prefix));
    flags.extend(cx.output.is_quiet().then(|| "--quiet".into()));
    Ok(flags)
}
