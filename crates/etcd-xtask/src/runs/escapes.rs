//! Changes outside of all runs, found at the end of a run: a note, or an error with `--deny escapes`.

use anyhow::Result;

use crate::context::Context;
use crate::failure::Failure;
use crate::runs::keeper::{Ended, Escapes};
use crate::runs::server::Server;

/// Says which keys outside of all runs changed.
///
/// # Errors
/// If there are any, or it is not known, and they are denied.
pub(crate) fn report(ended: &Ended, is_denied: bool, server: &Server, cx: &Context) -> Result<()> {
    let Some(escapes) = &ended.escapes else {
        let what = "it is not known whether keys outside of this run changed: etcd's history could not be read in time";
        return if is_denied { Err(Failure::of(what, "run it again, or without `--deny escapes`")) } else { Ok(()) };
    };
    if escapes.changes == 0 {
        return Ok(());
    }
    let what = what_changed(escapes);
    if is_denied {
        let next =
            "tests write below ETCD_TEST_PREFIX, as a sandbox does; on a shared etcd others may have made the changes";
        return Err(Failure::of(what, next));
    }
    cx.output.note(format_args!("note: {what}"));
    if !server.is_ephemeral() {
        let (first, last) = escapes.revisions;
        let flag = server.flag();
        cx.output.note(format_args!("  look: cargo xtask history \"\" --prefix --rev {first}..{last}{flag}"));
    }
    Ok(())
}

/// The sentence: how often, when, which keys.
fn what_changed(Escapes { changes, keys, .. }: &Escapes) -> String {
    let times = if *changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
    let named = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    format!("{times} outside of this run's keys while it ran: {named}{}", if keys.len() < 5 { "" } else { ", …" })
}
