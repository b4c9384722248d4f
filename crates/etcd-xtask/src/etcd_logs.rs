//! `etcd-logs`: the server's log, as it is and as it grows.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use etcd_local::Tail;

use crate::advice::Failure;
use crate::cli::EtcdLogs;
use crate::context::Context;
use crate::exit::Exit;
use crate::rebuild;

pub(crate) fn run(args: &EtcdLogs, cx: &Context) -> Result<Exit> {
    const PACE: Duration = Duration::from_millis(100);

    let log = cx.instance(&args.which)?.log();
    let mut tail = match Tail::open(&log, args.lines) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no log at `{}`", log.display());
            return Err(Failure::of(
                what,
                format!("{} starts a server, which writes one", args.which.command("etcd-up")),
            ));
        }
        opened => opened.with_context(|| format!("cannot read `{}`", log.display()))?,
    };
    tail.read(&mut io::stdout().lock())?;
    if !args.follow {
        return Ok(Exit::SUCCESS);
    }
    rebuild::make_way(cx);
    let (interrupt, interrupted) = channel();
    ctrlc::set_handler(move || interrupt.send(()).unwrap_or_default()).context("cannot watch for Ctrl-C")?;
    while interrupted.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        tail.read(&mut io::stdout().lock())?;
    }
    Ok(Exit::SUCCESS)
}
