//! `etcd-logs`: prints the server's log, and follows it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_local::{Instance, State, Tail};

use crate::advice;
use crate::build::rebuild;
use crate::cli::{EtcdLogs, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::readable_log::Readable;

pub(crate) fn run(args: &EtcdLogs, cx: &Context) -> Result<Exit> {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);

    let instance = cx.instance(&args.which)?;
    let log = log_of(&instance, args)?;
    let mut tail = match Tail::open(&log, args.lines) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no log at `{}`", log.display());
            let status = instance.status()?;
            return Err(match status.state {
                State::Stopped => {
                    Failure::of(what, format!("{} starts a server, which writes one", args.which.command("etcd-up")))
                }
                state => Failure::of(
                    format!("{what}: etcd `{}` {}", status.instance, advice::state(&status)),
                    advice::way_out(state, &status.pids, &args.which),
                ),
            });
        }
        // Reports if the log belongs to another user. A user who may read the log may read the other files, too.
        Err(error) => {
            instance.status()?;
            Err(error).with_context(|| format!("cannot read `{}`", log.display()))?
        }
        Ok(opened) => opened,
    };
    let stdout = io::stdout().lock();
    let mut out: Box<dyn Write> = match args.format {
        Format::Text => Box::new(Readable::new(stdout)),
        Format::Json => Box::new(stdout),
    };
    tail.read(&mut out)?;
    if !args.follow {
        return Ok(Exit::SUCCESS);
    }
    rebuild::make_way(cx);
    let (interrupt, interrupted) = channel();
    ctrlc::set_handler(move || interrupt.send(()).unwrap_or_default()).context("cannot watch for Ctrl-C")?;
    while interrupted.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        tail.read(&mut out)?;
    }
    Ok(Exit::SUCCESS)
}

/// The log of the member that the arguments name, else of the first.
fn log_of(instance: &Instance, args: &EtcdLogs) -> Result<PathBuf> {
    let mut logs = instance.member_logs();
    let Some(wanted) = &args.member else {
        return Ok(if logs.is_empty() { instance.log() } else { logs.swap_remove(0).1 });
    };
    if let Some((_, log)) = logs.iter().find(|(name, _)| name == wanted) {
        return Ok(log.clone());
    }
    let names: Vec<_> = logs.iter().map(|(name, _)| name.as_str()).collect();
    let next = match names.as_slice() {
        [] => "it has one member: leave out --member".to_owned(),
        names => format!("its members are {}", names.join(", ")),
    };
    Err(Failure::with_exit(Exit::USAGE, format!("etcd `{}` has no member `{wanted}`", instance.name()), next))
}
