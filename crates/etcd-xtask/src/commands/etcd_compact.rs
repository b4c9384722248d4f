//! `etcd-compact`: frees unused space in an instance's databases. It finds the members; `etcd-console` asks them.

use std::ffi::OsString;

use anyhow::Result;
use etcd_local::State;

use crate::cli::{EtcdCompact, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::{advice, console};

pub(crate) fn run(args: &EtcdCompact, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    if status.state != State::Ready {
        return Err(advice::unusable(&status, &args.which, ""));
    }
    // Each member has a database of its own. A learner refuses to defragment it.
    let ready = status.members.iter().filter(|member| member.state == State::Ready && !member.learner);
    let ready = ready.map(|member| &member.endpoint);
    let members = if status.members.is_empty() { status.endpoints.iter().collect() } else { ready.collect::<Vec<_>>() };
    let format = if args.answer.format == Format::Json { "json" } else { "text" };
    let mut words: Vec<OsString> = vec!["--instance".into(), status.instance.into(), "--format".into(), format.into()];
    words.extend(members.into_iter().flat_map(|endpoint| ["--member".into(), endpoint.into()]));
    console::run("compact", &words, cx)
}
