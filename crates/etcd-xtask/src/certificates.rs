//! The certificates of an etcd that is about to start: the user's own, or made by `etcd-console`, as xtask has no
//! cryptography.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use etcd_local::{Builder, State, Status, TlsSetting};
use etcd_workspace::{TlsFiles, TlsScope};

use crate::build::on_demand;
use crate::cli::NetworkPolicy;
use crate::console::PACKAGE;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::AlreadyReported;

/// The builder of an instance with TLS as it is asked for, else as Cargo.toml says. A server that runs keeps its
/// certificates, and the peers of several members have TLS as they were created.
pub(crate) fn with_tls(
    builder: Builder,
    instance: &str,
    asked: Option<TlsScope>,
    network: NetworkPolicy,
    cx: &Context,
) -> Result<Builder> {
    let setting = builder.settings().tls.clone();
    let own = match &setting {
        Some(TlsSetting::Dir(dir)) => Some(TlsFiles::in_dir(dir)),
        _ => None,
    };
    let mut scope = match (asked, setting) {
        (Some(asked), _) | (None, Some(TlsSetting::Made(asked))) => asked,
        (None, Some(TlsSetting::Dir(_))) => {
            TlsScope { clients: true, peers: own.as_ref().is_some_and(|own| own.peer().0.is_file()) }
        }
        (None, None) => TlsScope::default(),
    };
    if let Some(own) = own {
        return Ok(with_files(builder, scope, own));
    }
    let status = builder.instance(instance)?.status()?;
    scope.peers |= !status.members.is_empty() && status.peer_tls.is_some();
    match status {
        _ if !scope.is_any() => Ok(builder),
        Status { state: State::Ready, tls: Some(dir), .. }
        | Status { state: State::Ready, peer_tls: Some(dir), .. } => {
            Ok(with_files(builder, scope, TlsFiles::in_dir(dir)))
        }
        _ => {
            let dir = builder.instance(instance)?.dir().join("tls");
            with_made(builder, scope, &dir, network, cx)
        }
    }
}

fn with_files(mut builder: Builder, scope: TlsScope, files: TlsFiles) -> Builder {
    if scope.peers {
        builder = builder.peer_tls(files.clone());
    }
    if scope.clients { builder.tls(files) } else { builder }
}

/// For how many days a certificate is good, negative if it has ended. `None`: it is none, or `etcd-console` is not built.
pub(crate) fn days_left(certificate: &Path, cx: &Context) -> Option<i64> {
    let mut command = cx.command(on_demand::if_built(PACKAGE, cx)?);
    let output = command.arg("certificate-days").arg(certificate).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// An etcd with TLS. Its certificates are in `dir`, and made, or made anew, when needed.
pub(crate) fn with_made(
    builder: Builder,
    scope: TlsScope,
    dir: &Path,
    network: NetworkPolicy,
    cx: &Context,
) -> Result<Builder> {
    let host = builder.settings().host.to_string();
    let mut command = cx.command(on_demand::program_within(network, PACKAGE, cx)?);
    let status = command.arg("certificates").arg("--dir").arg(dir).args(["--host", &host]).status()?;
    if !status.success() {
        return Err(AlreadyReported(Exit::FAILURE).into());
    }
    Ok(with_files(builder, scope, TlsFiles::in_dir(dir)))
}
