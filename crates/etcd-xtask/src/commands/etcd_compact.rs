//! `etcd-compact`: frees unused space in an instance's database.

use anyhow::Result;
use etcd_local::{Compacted, DbSize, HealthError, State};

use crate::advice;
use crate::cli::{EtcdCompact, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::megabytes;
use crate::{health, output};

pub(crate) fn run(args: &EtcdCompact, cx: &Context) -> Result<Exit> {
    let status = cx.instance(&args.which)?.status()?;
    if status.state != State::Ready {
        return Err(advice::unusable(&status, &args.which, ""));
    }
    let compact = |endpoint: &String| etcd_local::compact(endpoint).map_err(|error| failure(&error, &args.which));
    if status.tls.is_some() || status.password_file.is_some() {
        let what = format!("etcd `{}` has TLS or users, which this command cannot use", status.instance);
        let next =
            format!("`cargo xtask etcdctl{} -- defrag` frees space, after `compact REVISION`", args.which.flag());
        return Err(Failure::of(what, next));
    }
    // Each member has a database of its own.
    let ready = status.members.iter().filter(|member| member.state == State::Ready).map(|member| &member.endpoint);
    let mut members = ready.map(compact).collect::<Result<Vec<_>>>()?.into_iter();
    let compacted = match (members.next(), status.endpoints.first()) {
        (Some(first), _) => members.fold(first, together),
        (None, Some(endpoint)) => compact(endpoint)?,
        (None, None) => return Err(advice::unusable(&status, &args.which, "")),
    };
    match args.answer.format {
        Format::Json => output::json(&compacted)?,
        Format::Text => cx.output.report(&text(&compacted, &status.instance))?,
    }
    Ok(Exit::SUCCESS)
}

/// What was freed in both members.
fn together(one: Compacted, other: Compacted) -> Compacted {
    let sum = |one: DbSize, other: DbSize| DbSize {
        total: one.total + other.total,
        in_use: one.in_use + other.in_use,
        quota: one.quota,
    };
    Compacted {
        revision: one.revision,
        before: sum(one.before, other.before),
        after: sum(one.after, other.after),
        disarmed: one.disarmed || other.disarmed,
    }
}

fn text(Compacted { revision, before, after, disarmed }: &Compacted, instance: &str) -> String {
    let freed = megabytes(before.total.saturating_sub(after.total));
    let now = megabytes(after.total);
    let alarm = if *disarmed { "; writes are possible again (alarm NOSPACE is off)" } else { "" };
    format!("compacted etcd `{instance}` at revision {revision}: {freed} freed, {now} left{alarm}\n")
}

fn failure(error: &HealthError, which: &Which) -> anyhow::Error {
    let next = match error {
        HealthError::StillFull { .. } => {
            format!(
                "delete keys first: {}, `cargo xtask test-clean`, or {}",
                which.command("del"),
                which.command("etcd-reset")
            )
        }
        HealthError::Refused { call: "maintenance/defragment", .. } => format!(
            "the server needs its data directory, with room for a copy of the database; after {} and {} it has the \
             directory where it is now",
            which.command("etcd-down"),
            which.command("etcd-up")
        ),
        HealthError::NeedsUser(_) => health::ways_out_of_auth(which),
        _ => format!("{} may say more", which.command("etcd-logs")),
    };
    Failure::of(error.to_string(), next)
}
