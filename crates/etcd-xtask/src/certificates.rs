//! The certificates of an etcd that is about to start: the user's own, or made by `etcd-console`, as xtask has no
//! cryptography.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use etcd_local::{Builder, State, Status, TlsSetting};
use etcd_workspace::TlsFiles;

use crate::build::on_demand;
use crate::cli::NetworkPolicy;
use crate::console::PACKAGE;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::AlreadyReported;

/// The builder of an instance with TLS: because Cargo.toml says so, or `is_asked_for`. A server that runs keeps its
/// certificates.
pub(crate) fn with_tls(
    builder: Builder,
    instance: &str,
    is_asked_for: bool,
    network: NetworkPolicy,
    cx: &Context,
) -> Result<Builder> {
    let made = match builder.settings().tls.clone() {
        Some(TlsSetting::Dir(dir)) => return Ok(builder.tls(TlsFiles::in_dir(dir))),
        None if !is_asked_for => return Ok(builder),
        _ => builder.instance(instance)?.dir().join("tls"),
    };
    match builder.instance(instance)?.status()? {
        Status { state: State::Ready, tls: Some(dir), .. } => Ok(builder.tls(TlsFiles::in_dir(dir))),
        _ => with_made(builder, &made, network, cx),
    }
}

/// For how many days a certificate is good, negative if it has ended. `None`: it is none, or `etcd-console` is not built.
pub(crate) fn days_left(certificate: &Path, cx: &Context) -> Option<i64> {
    let mut command = cx.command(on_demand::if_built(PACKAGE, cx)?);
    let output = command.arg("certificate-days").arg(certificate).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// An etcd with TLS. Its certificates are in `dir`, and made, or made anew, when needed.
pub(crate) fn with_made(builder: Builder, dir: &Path, network: NetworkPolicy, cx: &Context) -> Result<Builder> {
    let host = builder.settings().host.to_string();
    let mut command = cx.command(on_demand::program_within(network, PACKAGE, cx)?);
    let status = command.arg("certificates").arg("--dir").arg(dir).args(["--host", &host]).status()?;
    if !status.success() {
        return Err(AlreadyReported(Exit::FAILURE).into());
    }
    Ok(builder.tls(TlsFiles::in_dir(dir)))
}
