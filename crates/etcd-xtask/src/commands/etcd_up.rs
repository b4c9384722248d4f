//! `etcd-up`: starts an instance, and waits until it is ready.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use etcd_local::{Health, Instance, State, Status, Tail, Up};
use serde::Serialize;

use crate::build::rebuild;
use crate::certificates;
use crate::child::Interrupts;
use crate::cli::{EtcdUp, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::health::{self, Report};
use crate::readable_log::Readable;
use crate::{advice, membership, output, users};

pub(crate) fn run(args: &EtcdUp, cx: &Context) -> Result<Exit> {
    let mut builder = args.start.apply(cx.builder()?);
    if let Some(members) = args.members {
        builder = builder.members(members)?;
    }
    if let Some(learners) = args.learners {
        builder = builder.learners(learners.into());
    }
    let name = &args.which.instance;
    let builder = certificates::with_tls(builder, name, args.start.tls, args.start.network(), cx)?;
    let instance = membership::of_instance(builder, name, cx)?.instance(name)?;
    if args.foreground {
        return foreground(&instance, args, cx);
    }
    let up = users::switched_on(instance.up()?, &instance, args.start.auth, args.start.network(), cx)?;
    answer(&up, None, args.answer.format, cx)?;
    advice::note_other_cluster(&up.status, cx);
    if !up.started {
        advice::note_differences(&instance, &args.which, cx);
    }
    Ok(Exit::SUCCESS)
}

/// The answer of `etcd-up`, and of `etcd-reset` if it started the instance again, with the deleted data.
pub(crate) fn answer(up: &Up, wiped: Option<Option<&Path>>, format: Format, cx: &Context) -> Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(flatten)]
        status: &'a Status,
        started: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        wiped: Option<Option<&'a Path>>,
        health: Option<Health>,
    }

    let Report { health, problems } = health::of(&up.status);
    for problem in problems {
        cx.output.warn(format_args!("etcd `{}`: {problem}", up.status.instance));
    }
    match format {
        Format::Json => output::json(&Answer { status: &up.status, started: up.started, wiped, health }),
        Format::Text => cx.output.report(&text(up, cx)),
    }
}

fn text(up: &Up, cx: &Context) -> String {
    let Status { instance, endpoints, data_dir, log, tls, peer_tls, password_file, version, ready_ms, .. } = &up.status;
    let version = version.as_ref().map(ToString::to_string).unwrap_or_default();
    let how = match (up.started, ready_ms) {
        (true, Some(ms)) => format!("is ready after {ms} ms"),
        (true, None) => "is ready".to_owned(),
        (false, _) if up.status.state == State::Hidden => "is already up, but is not visible from here".to_owned(),
        (false, _) => "is already up".to_owned(),
    };
    let mut text = format!("etcd {version} `{instance}` {how}: {}\n", endpoints.join(","));
    let files = [
        ("data:", Some(data_dir)),
        ("log:", Some(log)),
        ("tls:", tls.as_ref()),
        ("peers:", peer_tls.as_ref()),
        ("root:", password_file.as_ref()),
    ];
    for (name, path) in files.into_iter().filter_map(|(name, path)| Some((name, path?))) {
        text.push_str(&format!("  {name:<6} {}\n", cx.shown(path)));
    }
    text
}

/// Shows the log until the server ends or Ctrl-C ends it.
fn foreground(instance: &Instance, args: &EtcdUp, cx: &Context) -> Result<Exit> {
    const POLL_INTERVAL: Duration = Duration::from_millis(50);

    rebuild::make_way(cx);
    let interrupts = Interrupts::listen()?;
    let before = Tail::at_end(&instance.log()).ok();
    // This may wait for another command or install an etcd, for minutes. A server that is not ready yet ends with this process.
    let mut server = interrupts.breakable(|| instance.up_in_foreground())?;
    let up = Up { status: server.status.clone(), started: true };
    let up = users::switched_on(up, instance, args.start.auth, args.start.network(), cx)?;
    answer(&up, None, args.answer.format, cx)?;
    let mut tail = match before {
        Some(tail) => tail,
        None => Tail::open(&instance.log(), usize::MAX)?,
    };
    let mut log = Readable::new(io::stderr());
    let ended = loop {
        tail.read(&mut log)?;
        if interrupts.any() {
            break None;
        }
        if let Some(status) = server.ended_within(POLL_INTERVAL) {
            break Some(status);
        }
    };
    instance.down()?;
    tail.read(&mut log)?;
    Ok(match ended {
        None => {
            cx.output.note(format_args!("stopped etcd `{}`; its data stays", instance.name()));
            Exit::SUCCESS
        }
        Some(status) => {
            cx.output.note(format_args!("the server of `{}` ended by itself: {status}", instance.name()));
            Exit::FAILURE
        }
    })
}
