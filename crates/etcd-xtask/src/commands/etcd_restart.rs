//! `etcd-restart`: stops an instance and starts it again, with the same program, ports and data.

use anyhow::Result;
use etcd_local::binary::Wanted;
use etcd_local::{Builder, Port, Status};
use etcd_workspace::TlsScope;

use crate::advice;
use crate::certificates;
use crate::cli::{EtcdRestart, Format};
use crate::commands::etcd_up;
use crate::context::Context;
use crate::exit::Exit;
use crate::{membership, users};

pub(crate) fn run(args: &EtcdRestart, cx: &Context) -> Result<Exit> {
    let name = &args.which.instance;
    let settings = cx.builder()?;
    let before = settings.instance(name)?.status()?;
    let builder = args.start.apply(as_before(settings, name, &before));
    let had_tls = TlsScope { clients: before.tls.is_some(), peers: before.peer_tls.is_some() };
    let wants_tls = args.start.tls.or(Some(had_tls).filter(|had_tls| had_tls.is_any()));
    let builder = certificates::with_tls(builder, name, wants_tls, args.start.network(), cx)?;
    let builder = membership::of_instance(builder, name, cx)?;
    // Problems that would prevent the start are found before the stop.
    builder.binaries().find(&builder.settings().wanted)?;
    let instance = builder.instance(name)?;
    if instance.dir().is_dir() {
        etcd_local::check_writable(instance.dir())?;
    }
    let stopped = instance.down()?.stopped;
    if args.answer.format == Format::Text {
        cx.output.report(&match stopped.is_empty() {
            true => format!("etcd `{name}` was not running\n"),
            false => format!("stopped etcd `{name}`\n"),
        })?;
    }
    let up = users::switched_on(instance.up()?, &instance, args.start.auth, args.start.network(), cx)?;
    etcd_up::answer(&up, None, args.answer.format, cx)?;
    advice::note_other_cluster(&up.status, cx);
    advice::note_differences(&cx.instance(&args.which)?, &args.which, cx);
    Ok(Exit::SUCCESS)
}

/// What neither a variable nor Cargo.toml names stays as it was. The program stays in any case but one: a variable names
/// another one. A newer program would upgrade the data, which cannot be undone.
fn as_before(mut builder: Builder, name: &str, before: &Status) -> Builder {
    if !matches!(builder.settings().wanted, Wanted::At(_)) {
        builder = match (&before.binary, &before.version) {
            (Some(binary), _) if binary.is_file() => builder.etcd(Wanted::At(binary.clone())),
            (_, Some(version)) => builder.etcd(Wanted::Exactly(version.clone())),
            _ => builder,
        };
    }
    let port = before.endpoints.first().and_then(|url| url.rsplit_once(':')?.1.parse().ok());
    // Another instance than `default` has its last port anyway.
    if let Some(port) = port
        && name == etcd_local::DEFAULT_INSTANCE
        && builder.settings().port.is_none()
    {
        builder = builder.port(Port::Fixed(port));
    }
    builder
}
